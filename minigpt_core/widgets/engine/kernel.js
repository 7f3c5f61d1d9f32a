// Matrix products in WebAssembly, for training and for writing; where that is missing, or where 64 bits are asked for, in
// JavaScript. Both compute C += A B in blocks of 6 rows and 8 columns from the same packed strips.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const ROWS = 6, COLUMNS = 8, PAGE = 65536; // of a block; bytes of a page of WebAssembly's memory

  // What kernel.wat becomes; a test assembles it anew and compares.
  const BYTES =
    "AGFzbQEAAAABEgJgBn9/f39/fwBgBX9/f39/AAIQAQRwYWdlBm1lbW9yeQIAAQMDAgABBw8CBWJsb2NrAAADcm93AAEK0gUCxgQCA38QewNA" +
    "IAkhDSAJIQ4gCSEPIAkhECAJIREgCSESIAkhEyAJIRQgCSEVIAkhFiAJIRcgCSEYIAAhBiADIQcDQCAB/QAEACELIAH9AAQQIQwgBv0JAgAh" +
    "CiANIAogC/3mAf3kASENIA4gCiAM/eYB/eQBIQ4gBv0JAgQhCiAPIAogC/3mAf3kASEPIBAgCiAM/eYB/eQBIRAgBv0JAgghCiARIAogC/3m" +
    "Af3kASERIBIgCiAM/eYB/eQBIRIgBv0JAgwhCiATIAogC/3mAf3kASETIBQgCiAM/eYB/eQBIRQgBv0JAhAhCiAVIAogC/3mAf3kASEVIBYg" +
    "CiAM/eYB/eQBIRYgBv0JAhQhCiAXIAogC/3mAf3kASEXIBggCiAM/eYB/eQBIRggBkEYaiEGIAFBIGohASAHQQFrIgcNAAsgAiEIIAggCP0A" +
    "BAAgDf3kAf0LBAAgCCAI/QAEECAO/eQB/QsEECAIIAVqIQggCCAI/QAEACAP/eQB/QsEACAIIAj9AAQQIBD95AH9CwQQIAggBWohCCAIIAj9" +
    "AAQAIBH95AH9CwQAIAggCP0ABBAgEv3kAf0LBBAgCCAFaiEIIAggCP0ABAAgE/3kAf0LBAAgCCAI/QAEECAU/eQB/QsEECAIIAVqIQggCCAI" +
    "/QAEACAV/eQB/QsEACAIIAj9AAQQIBb95AH9CwQQIAggBWohCCAIIAj9AAQAIBf95AH9CwQAIAggCP0ABBAgGP3kAf0LBBAgAkEgaiECIARB" +
    "AWsiBA0ACwuHAQICfwN7A0AgAv0ABAAhCCAC/QAEECEJIAAhBSADIQYDQCAF/QkCACEHIAggByAB/QAEAP3mAf3kASEIIAkgByAB/QAEEP3m" +
    "Af3kASEJIAVBBGohBSABQSBqIQEgBkEBayIGDQALIAIgCP0LBAAgAiAJ/QsEECACQSBqIQIgBEEBayIEDQALCwDeAQRuYW1lArEBAgAZAAFh" +
    "AQFiAgFjAwVkZXB0aAQGc3RyaXBzBQZzdHJpZGUGBGZyb20HBGxlZnQIAmF0CQR6ZXJvCgF4CwJiMAwCYjENA3MwMA4DczAxDwNzMTAQA3Mx" +
    "MREDczIwEgNzMjETA3MzMBQDczMxFQNzNDAWA3M0MRcDczUwGANzNTEBCgABYQEBYgIBYwMFZGVwdGgEBnN0cmlwcwUEZnJvbQYEbGVmdAcB" +
    "eAgCczAJAnMxAyMCAAIABXN0cmlwAQZjb2x1bW4BAgAFc3RyaXABBmNvbHVtbg==";

  let module = null; // null: not asked for yet; undefined: there is none
  const compiled = () => {
    if (module === null)
      try {
        module = new WebAssembly.Module(Uint8Array.from(atob(BYTES), (character) => character.charCodeAt(0)));
      } catch {
        module = undefined; // this browser has no WebAssembly, or none that computes with four numbers at once
      }
    return module;
  };

  // The two functions of kernel.wat in JavaScript. Here addresses count numbers of the array `x`, not bytes.
  const plainly = (x) => ({
    block(a, b, c, depth, strips, stride) {
      for (let strip = 0; strip < strips; strip++, b += COLUMNS * depth, c += COLUMNS)
        for (let row = 0; row < ROWS; row += 2)
          for (let column = 0; column < COLUMNS; column += 4) {
            let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
            for (let i = 0, from = a + row, at = b + column; i < depth; i++, from += ROWS, at += COLUMNS) {
              const u = x[from], v = x[from + 1], b0 = x[at], b1 = x[at + 1], b2 = x[at + 2], b3 = x[at + 3];
              s00 += u * b0;
              s01 += u * b1;
              s02 += u * b2;
              s03 += u * b3;
              s10 += v * b0;
              s11 += v * b1;
              s12 += v * b2;
              s13 += v * b3;
            }
            const to = c + row * stride + column, below = to + stride;
            x[to] += s00;
            x[to + 1] += s01;
            x[to + 2] += s02;
            x[to + 3] += s03;
            x[below] += s10;
            x[below + 1] += s11;
            x[below + 2] += s12;
            x[below + 3] += s13;
          }
    },
    row(a, b, c, depth, strips) {
      for (let strip = 0; strip < strips; strip++, c += COLUMNS) {
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (let i = a; i < a + depth; i++, b += COLUMNS) {
          const u = x[i];
          s0 += u * x[b];
          s1 += u * x[b + 1];
          s2 += u * x[b + 2];
          s3 += u * x[b + 3];
          s4 += u * x[b + 4];
          s5 += u * x[b + 5];
          s6 += u * x[b + 6];
          s7 += u * x[b + 7];
        }
        x[c] += s0;
        x[c + 1] += s1;
        x[c + 2] += s2;
        x[c + 3] += s3;
        x[c + 4] += s4;
        x[c + 5] += s5;
        x[c + 6] += s6;
        x[c + 7] += s7;
      }
    },
  });

  const up = (n, step) => Math.ceil(n / step) * step;
  minigpt.padded = (columns) => up(columns, COLUMNS); // as many as its strips have

  // A matrix in an array: rows that are `down` numbers apart, columns that are `across` apart.
  minigpt.matrix = (x, rows, columns, at = 0, down = columns) => ({ x, at, rows, columns, down, across: 1 });
  minigpt.turned = ({ x, at, rows, columns, down, across }) =>
    ({ x, at, rows: columns, columns: rows, down: across, across: down });

  // Memory for named arrays of `sizes` numbers, and for products: of matrices with at most `widest` numbers in B and `depth` columns
  // in A. `kind` is "wasm", "float32" or "float64": what computes, and with which numbers.
  class Workspace {
    constructor(sizes, { depth, widest, width }, kind = compiled() ? "wasm" : "float32") {
      const named = Object.entries({ ...sizes, strip: ROWS * depth, packed: widest, edge: ROWS * up(width, COLUMNS) });
      const places = {};
      let total = 0;
      for (const [name, size] of named) {
        places[name] = total;
        total += up(size, 4); // an array begins at a multiple of 16 bytes
      }
      this.kind = kind;
      this.arrays = {};
      const all = kind === "float64" ? new Float64Array(total) : new Float32Array(this.memory(4 * total), 0, total);
      for (const [name, size] of named) this.arrays[name] = all.subarray(places[name], places[name] + size);
      this.unit = kind === "wasm" ? 4 : 1; // of an address
      this.functions ??= plainly(all);
      this.first = all.byteOffset;
    }

    memory(bytes) {
      if (this.kind !== "wasm") return new ArrayBuffer(bytes);
      let memory;
      try {
        memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) });
      } catch {
        throw new Error(
          `this browser gives no ${Math.ceil(bytes / 1e6)} MB of memory, which this needs: close other pages, or take a smaller model`,
        );
      }
      this.functions = new WebAssembly.Instance(compiled(), { page: { memory } }).exports;
      return memory.buffer;
    }

    // Where a number of one of the arrays lies.
    address(x, at = 0) {
      return this.kind === "wasm" ? x.byteOffset + 4 * at : x.byteOffset / x.BYTES_PER_ELEMENT + at;
    }

    // B in strips of 8 columns, those that are missing in the last one as zeros, into the array `to` from `place` on.
    pack({ x, at, rows, columns, down, across }, to, place = 0) {
      for (let first = 0; first < columns; first += COLUMNS) {
        const there = Math.min(COLUMNS, columns - first), begin = at + first * across;
        if (there < COLUMNS) to.fill(0, place, place + rows * COLUMNS);
        if (there === COLUMNS)
          for (let row = 0, from = begin; row < rows; row++, from += down, place += COLUMNS) {
            to[place] = x[from];
            to[place + 1] = x[from + across];
            to[place + 2] = x[from + 2 * across];
            to[place + 3] = x[from + 3 * across];
            to[place + 4] = x[from + 4 * across];
            to[place + 5] = x[from + 5 * across];
            to[place + 6] = x[from + 6 * across];
            to[place + 7] = x[from + 7 * across];
          }
        else
          for (let row = 0; row < rows; row++, place += COLUMNS)
            for (let column = 0; column < there; column++) to[place + column] = x[begin + row * down + column * across];
      }
    }

    // Six rows of A from `first` on, those that are missing as zeros, into the array `strip`.
    packRows({ x, at, rows, columns, down, across }, first) {
      const to = this.arrays.strip, there = Math.min(ROWS, rows - first);
      let from = at + first * down, place = 0;
      if (there < ROWS) to.fill(0);
      if (there === ROWS)
        for (let column = 0; column < columns; column++, from += across, place += ROWS) {
          to[place] = x[from];
          to[place + 1] = x[from + down];
          to[place + 2] = x[from + 2 * down];
          to[place + 3] = x[from + 3 * down];
          to[place + 4] = x[from + 4 * down];
          to[place + 5] = x[from + 5 * down];
        }
      else
        for (let column = 0; column < columns; column++, from += across, place += ROWS)
          for (let row = 0; row < there; row++) to[place + row] = x[from + row * down];
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

  Object.assign(minigpt, { Workspace });
})();
