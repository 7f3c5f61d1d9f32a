// PyTorch's random numbers on the CPU, by the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998); and the twin of
// step_seed of minigpt_core/data.py.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const SIZE = 624;

  // The same numbers as torch.Generator().manual_seed(seed), of which 32 bits count.
  class MersenneTwister {
    constructor(seed) {
      this.state = new Uint32Array(SIZE);
      this.state[0] = seed;
      for (let i = 1; i < SIZE; i++) {
        const before = this.state[i - 1];
        this.state[i] = Math.imul(before ^ (before >>> 30), 1_812_433_253) + i;
      }
      this.used = SIZE;
    }

    // The next 32 bits, as a whole number from 0.
    next() {
      if (this.used === SIZE) this.twist();
      let y = this.state[this.used++];
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    }

    twist() {
      const { state } = this;
      for (let i = 0; i < SIZE; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
        state[i] = state[(i + 397) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.used = 0;
    }

    // A whole number from 0 to n - 1, as torch.randint(n); n is less than 2 ** 28, from where on PyTorch takes 64 bits.
    below(n) {
      return this.next() % n;
    }

    // A number from 0 to 1, 1 excluded, as torch.rand.
    uniform() {
      return (this.next() & 0xffffff) / 2 ** 24;
    }

    // A number of mean 0 and variance 1, by Box and Muller (1958). These are not the numbers of torch.randn.
    normal() {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
      return radius * Math.cos(2 * Math.PI * this.uniform());
    }
  }

  // One number for a step of a seeded run.
  const stepSeed = (seed, step) => (Math.imul(seed, 2_654_435_761) + step) >>> 0;

  Object.assign(minigpt, { MersenneTwister, stepSeed });
})();
