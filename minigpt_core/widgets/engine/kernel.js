// Matrix products in WebAssembly, for training and for writing; where that is missing, or where 64 bits are asked for, in
// JavaScript. Both compute C += A B in blocks of 6 rows and 8 columns from the same packed strips.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const ROWS = 6, COLUMNS = 8, PAGE = 65536; // of a block; bytes of a page of WebAssembly's memory

  // What kernel.wat becomes; a test assembles it anew and compares.
  const BYTES =
    "0061736d0100000001120260067f7f7f7f7f7f0060057f7f7f7f7f000210010470616765066d656d6f72790200010303020001070f02" +
    "05626c6f636b000003726f7700010ad20502c60402037f107b03402009210d2009210e2009210f200921102009211120092112200921" +
    "132009211420092115200921162009211720092118200021062003210703402001fd000400210b2001fd000410210c2006fd09020021" +
    "0a200d200a200bfde601fde401210d200e200a200cfde601fde401210e2006fd090204210a200f200a200bfde601fde401210f201020" +
    "0a200cfde601fde40121102006fd090208210a2011200a200bfde601fde40121112012200a200cfde601fde40121122006fd09020c21" +
    "0a2013200a200bfde601fde40121132014200a200cfde601fde40121142006fd090210210a2015200a200bfde601fde4012115201620" +
    "0a200cfde601fde40121162006fd090214210a2017200a200bfde601fde40121172018200a200cfde601fde4012118200641186a2106" +
    "200141206a2101200741016b22070d000b2002210820082008fd000400200dfde401fd0b040020082008fd000410200efde401fd0b04" +
    "10200820056a210820082008fd000400200ffde401fd0b040020082008fd0004102010fde401fd0b0410200820056a210820082008fd" +
    "0004002011fde401fd0b040020082008fd0004102012fde401fd0b0410200820056a210820082008fd0004002013fde401fd0b040020" +
    "082008fd0004102014fde401fd0b0410200820056a210820082008fd0004002015fde401fd0b040020082008fd0004102016fde401fd" +
    "0b0410200820056a210820082008fd0004002017fde401fd0b040020082008fd0004102018fde401fd0b0410200241206a2102200441" +
    "016b22040d000b0b870102027f037b03402002fd00040021082002fd0004102109200021052003210603402005fd0902002107200820" +
    "072001fd000400fde601fde4012108200920072001fd000410fde601fde4012109200541046a2105200141206a2101200641016b2206" +
    "0d000b20022008fd0b040020022009fd0b0410200241206a2102200441016b22040d000b0b";

  let module = null; // null: not asked for yet; undefined: there is none
  const compiled = () => {
    if (module === null)
      try {
        module = new WebAssembly.Module(Uint8Array.from(BYTES.match(/../g), (byte) => parseInt(byte, 16)));
      } catch {
        module = undefined; // this browser has no WebAssembly, or none that computes with four numbers at once
      }
    return module;
  };

  // The two functions of kernel.wat in JavaScript. Here addresses count numbers of the array `x`, not bytes.
  const plainly = (x) => {
    // Four sums: the numbers of a row of A, which are `step` apart, by those of four columns of B.
    const four = (a, step, b, c, depth) => {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (let i = 0; i < depth; i++, a += step, b += COLUMNS) {
        const u = x[a];
        s0 += u * x[b];
        s1 += u * x[b + 1];
        s2 += u * x[b + 2];
        s3 += u * x[b + 3];
      }
      x[c] += s0;
      x[c + 1] += s1;
      x[c + 2] += s2;
      x[c + 3] += s3;
    };
    return {
      block(a, b, c, depth, strips, stride) {
        for (let strip = 0; strip < strips; strip++, b += COLUMNS * depth, c += COLUMNS)
          for (let row = 0; row < ROWS; row++)
            for (let column = 0; column < COLUMNS; column += 4)
              four(a + row, ROWS, b + column, c + row * stride + column, depth);
      },
      row(a, b, c, depth, strips) {
        for (let strip = 0; strip < strips; strip++, b += COLUMNS * depth, c += COLUMNS)
          for (let column = 0; column < COLUMNS; column += 4) four(a, 1, b + column, c + column, depth);
      },
    };
  };

  const up = (n, step) => Math.ceil(n / step) * step;
  const padded = (columns) => up(columns, COLUMNS); // as many as its strips have

  // A matrix in an array: rows that are `down` numbers apart, columns that are `across` apart.
  const matrix = (x, rows, columns, at = 0, down = columns) => ({ x, at, rows, columns, down, across: 1 });
  const turned = ({ x, at, rows, columns, down, across }) =>
    ({ x, at, rows: columns, columns: rows, down: across, across: down });

  const noMemory = (bytes) =>
    new Error(`this browser gives no ${Math.ceil(bytes / 1e6)} MB of memory, which this needs: close other pages, or take a smaller model`);

  // Memory for named arrays of `sizes` numbers, and for products: of matrices with at most `depth` columns in A, `widest` numbers
  // in B's strips, and `width` columns in C. `kind` is "wasm", "float32" or "float64": what computes, and with which numbers.
  class Workspace {
    constructor(sizes, { depth, widest, width }, kind = compiled() ? "wasm" : "float32") {
      const named = Object.entries({ ...sizes, strip: ROWS * depth, packed: widest, edge: ROWS * padded(width) });
      const places = {};
      let total = 0;
      for (const [name, size] of named) {
        places[name] = total;
        total += up(size, 4); // an array begins at a multiple of 16 bytes
      }
      const all = this.numbers(total, kind);
      this.kind = kind;
      this.unit = kind === "wasm" ? 4 : 1; // of an address
      this.arrays = {};
      for (const [name, size] of named) this.arrays[name] = all.subarray(places[name], places[name] + size);
    }

    // An array of at least so many numbers, and the functions that compute with them.
    numbers(total, kind) {
      try {
        if (kind === "wasm") {
          const memory = new WebAssembly.Memory({ initial: Math.ceil((4 * total) / PAGE) });
          this.functions = new WebAssembly.Instance(compiled(), { page: { memory } }).exports;
          return new Float32Array(memory.buffer);
        }
        const all = new (kind === "float64" ? Float64Array : Float32Array)(total);
        this.functions = plainly(all);
        return all;
      } catch {
        throw noMemory(4 * total);
      }
    }

    // Where a number of one of the arrays lies.
    address(x, at = 0) {
      return this.unit * (x.byteOffset / x.BYTES_PER_ELEMENT + at);
    }

    // B in strips of 8 columns, one after the other, into the array `to`. A column that is missing in the last strip is the last one
    // again: what is computed with it is dropped.
    pack({ x, at, rows, columns, down, across }, to) {
      for (let first = 0, place = 0; first < columns; first += COLUMNS) {
        const far = (n) => across * Math.min(n, columns - first - 1);
        const a = far(1), b = far(2), c = far(3), d = far(4), e = far(5), f = far(6), g = far(7);
        for (let row = 0, from = at + first * across; row < rows; row++, from += down, place += COLUMNS) {
          to[place] = x[from];
          to[place + 1] = x[from + a];
          to[place + 2] = x[from + b];
          to[place + 3] = x[from + c];
          to[place + 4] = x[from + d];
          to[place + 5] = x[from + e];
          to[place + 6] = x[from + f];
          to[place + 7] = x[from + g];
        }
      }
    }

    // Six rows of A from `first` on, into the array `strip`; likewise where some are missing.
    packRows({ x, at, rows, columns, down, across }, first) {
      const to = this.arrays.strip, far = (n) => down * Math.min(n, rows - first - 1);
      const a = far(1), b = far(2), c = far(3), d = far(4), e = far(5);
      for (let column = 0, from = at + first * down, place = 0; column < columns; column++, from += across, place += ROWS) {
        to[place] = x[from];
        to[place + 1] = x[from + a];
        to[place + 2] = x[from + b];
        to[place + 3] = x[from + c];
        to[place + 4] = x[from + d];
        to[place + 5] = x[from + e];
      }
    }

    // C += A B. C is a matrix in one of the arrays here; A and B may lie anywhere.
    multiply(C, A, B) {
      this.pack(B, this.arrays.packed);
      this.multiplyPacked(C, A, this.arrays.packed);
    }

    // One row, c += a B, with a B that is packed already. c has room for its whole strips.
    multiplyRow(c, a, depth, columns, packed) {
      const [from, by, to] = [a, packed, c].map((x) => this.address(x));
      this.functions.row(from, by, to, depth, Math.ceil(columns / COLUMNS));
    }

    // C += A B, with a B that is packed already.
    multiplyPacked(C, A, packed) {
      const { strip, edge } = this.arrays, strips = Math.ceil(C.columns / COLUMNS), wide = strips * COLUMNS;
      const from = this.address(strip), by = this.address(packed), whole = C.columns === wide;
      for (let first = 0; first < C.rows; first += ROWS) {
        this.packRows(A, first);
        const at = C.at + first * C.down, rows = Math.min(ROWS, C.rows - first);
        if (whole && rows === ROWS) {
          this.functions.block(from, by, this.address(C.x, at), A.columns, strips, this.unit * C.down);
          continue;
        }
        edge.fill(0);
        this.functions.block(from, by, this.address(edge), A.columns, strips, this.unit * wide);
        for (let row = 0; row < rows; row++)
          for (let column = 0; column < C.columns; column++)
            C.x[at + row * C.down + column] += edge[row * wide + column];
      }
    }
  }

  Object.assign(minigpt, { padded, matrix, turned, noMemory, Workspace });
})();
