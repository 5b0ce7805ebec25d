// Chance that can be repeated: the same seed gives the same numbers, in every browser.

/** A generator: uniform() in [0, 1), normal() with mean 0 and deviation 1, order(n): 0 to n - 1. */
export function makeRandom(seed) {
  // mulberry32, by Tommy Ettinger, in the public domain: a counter whose bits are mixed well.
  let state = (seed * 0x9e3779b1) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 0x100000000;
  };
  const below = (count) => Math.floor(uniform() * count);
  return {
    uniform,
    below,
    /** Box and Muller's: two uniform numbers as radius and angle of a point. */
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    /** The numbers from 0 to count - 1, shuffled. */
    order(count) {
      const numbers = Uint32Array.from({ length: count }, (_, k) => k);
      for (let k = count - 1; k > 0; k -= 1) {
        const other = below(k + 1);
        [numbers[k], numbers[other]] = [numbers[other], numbers[k]];
      }
      return numbers;
    },
  };
}
