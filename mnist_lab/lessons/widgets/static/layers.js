// Layers that learn: chapters 3 and 4 in JavaScript. Each has a forward and a backward pass.
//
// A layer reads the numbers of the layer before it, for a whole batch, and writes its own into
// `values`; on the way back it finds in `gradient` how the loss changes with each of these, leaves in
// its parameters how it changes with them, and hands the rest to the layer before. Both are laid out
// as in PyTorch: image by image, channel by channel, row by row. All numbers are float64: JavaScript
// computes with nothing else, and to read a float32 it has to convert it first.
//
// A parameter is { name, shape, values, gradient }.

const NORM_EPSILON = 1e-5; // PyTorch's, as the next
const NORM_MOMENTUM = 0.1; // share of the newest batch in the running statistics

const makeParameter = (name, shape, fill = 0) => {
  const size = shape.reduce((product, side) => product * side, 1);
  const values = new Float64Array(size).fill(fill);
  return { name, shape, values, gradient: new Float64Array(size) };
};

class Layer {
  constructor(name, before, channels, height, width) {
    Object.assign(this, { name, before, channels, height, width });
    this.area = height * width;
    this.size = channels * this.area; // numbers of one image
    this.parameters = [];
    this.values = new Float64Array(0);
    this.gradient = new Float64Array(0);
  }

  /** Make room for a batch of `count` images; what was there may be lost. */
  hold(count) {
    if (this.values.length >= count * this.size) return;
    this.values = new Float64Array(count * this.size);
    this.gradient = new Float64Array(count * this.size);
  }
}

/** The image: it only holds its numbers, and nobody asks for their gradient. */
export class Input extends Layer {
  constructor(side) {
    super("image", null, 1, side, side);
    this.isInput = true;
  }
}

/** A convolution: a linear layer over the patches that its kernels see. With a bias only if asked. */
export class Convolution extends Layer {
  constructor(name, before, channels, side, stride, padding, hasBias = false) {
    const along = (length) => Math.floor((length + 2 * padding - side) / stride) + 1;
    super(name, before, channels, along(before.height), along(before.width));
    this.weight = makeParameter(`${name}.weight`, [channels, before.channels, side, side]);
    this.bias = makeParameter(`${name}.bias`, [channels]); // stays 0 where it is no parameter
    this.parameters = hasBias ? [this.weight, this.bias] : [this.weight];
    this.length = before.channels * side * side; // of one patch
    this.fanIn = this.length;
    this.sources = this.findSources(side, stride, padding);
    this.patches = new Float64Array(0);
    this.patchGradient = new Float64Array(this.length);
  }

  /** For each place and each number of its patch, where in the image it is; -1 in the padding. */
  findSources(side, stride, padding) {
    const { channels, height, width } = this.before;
    const sources = new Int32Array(this.area * this.length);
    let at = 0;
    for (let place = 0; place < this.area; place += 1) {
      const top = Math.floor(place / this.width) * stride - padding;
      const left = (place % this.width) * stride - padding;
      for (let channel = 0; channel < channels; channel += 1) {
        for (let y = top; y < top + side; y += 1) {
          for (let x = left; x < left + side; x += 1, at += 1) {
            const inside = y >= 0 && y < height && x >= 0 && x < width;
            sources[at] = inside ? (channel * height + y) * width + x : -1;
          }
        }
      }
    }
    return sources;
  }

  hold(count) {
    super.hold(count);
    const needed = count * this.sources.length;
    if (this.patches.length < needed) this.patches = new Float64Array(needed);
  }

  forward(count) {
    const { before, sources, patches, length, area, channels, values } = this;
    const kernels = this.weight.values;
    const biases = this.bias.values;
    for (let image = 0; image < count; image += 1) {
      const start = image * before.size;
      const first = image * sources.length;
      for (let k = 0; k < sources.length; k += 1) {
        patches[first + k] = sources[k] < 0 ? 0 : before.values[start + sources[k]];
      }
      for (let place = 0; place < area; place += 1) {
        const patch = first + place * length;
        let target = image * this.size + place;
        let channel = 0;
        // Four kernels at a time: each number of the patch is fetched once for all of them.
        for (; channel + 3 < channels; channel += 4, target += 4 * area) {
          const one = channel * length;
          const [two, three, four] = [one + length, one + 2 * length, one + 3 * length];
          let [a, b] = [biases[channel], biases[channel + 1]];
          let [c, d] = [biases[channel + 2], biases[channel + 3]];
          for (let k = 0; k < length; k += 1) {
            const value = patches[patch + k];
            a += value * kernels[one + k];
            b += value * kernels[two + k];
            c += value * kernels[three + k];
            d += value * kernels[four + k];
          }
          values[target] = a;
          values[target + area] = b;
          values[target + 2 * area] = c;
          values[target + 3 * area] = d;
        }
        for (; channel < channels; channel += 1, target += area) {
          let sum = biases[channel];
          for (let k = 0; k < length; k += 1) sum += patches[patch + k] * kernels[channel * length + k];
          values[target] = sum;
        }
      }
    }
  }

  backward(count) {
    const { before, sources, patches, length, area, channels, gradient, patchGradient } = this;
    const { values: kernels, gradient: kernelGradient } = this.weight;
    kernelGradient.fill(0);
    this.bias.gradient.fill(0);
    if (!before.isInput) before.gradient.fill(0, 0, count * before.size);
    for (let image = 0; image < count; image += 1) {
      for (let place = 0; place < area; place += 1) {
        const first = place * length;
        const patch = image * sources.length + first;
        patchGradient.fill(0);
        for (let channel = 0; channel < channels; channel += 1) {
          const slope = gradient[image * this.size + channel * area + place];
          if (slope === 0) continue; // three of four are, where pooling follows
          this.bias.gradient[channel] += slope;
          const kernel = channel * length;
          if (before.isInput) {
            for (let k = 0; k < length; k += 1) {
              kernelGradient[kernel + k] += slope * patches[patch + k];
            }
          } else {
            for (let k = 0; k < length; k += 1) {
              kernelGradient[kernel + k] += slope * patches[patch + k];
              patchGradient[k] += slope * kernels[kernel + k];
            }
          }
        }
        if (before.isInput) continue;
        // A pixel lies under several patches, and its gradient is the sum of what they say of it.
        const start = image * before.size;
        for (let k = 0; k < length; k += 1) {
          if (sources[first + k] >= 0) before.gradient[start + sources[first + k]] += patchGradient[k];
        }
      }
    }
  }
}

/** The largest of each 2x2 numbers; an odd last row or column is left out, as in PyTorch. */
export class Pooling extends Layer {
  constructor(name, before) {
    super(name, before, before.channels, Math.floor(before.height / 2), Math.floor(before.width / 2));
    this.winners = new Int32Array(0); // where the largest number was
  }

  hold(count) {
    super.hold(count);
    if (this.winners.length < count * this.size) this.winners = new Int32Array(count * this.size);
  }

  forward(count) {
    const { height, width, winners, before } = this;
    const across = before.width;
    let place = 0;
    for (let map = 0; map < count * this.channels; map += 1) {
      for (let row = 0; row < height; row += 1) {
        let from = map * before.area + 2 * row * across;
        for (let column = 0; column < width; column += 1, from += 2, place += 1) {
          let best = from; // of equal ones the first, as in PyTorch
          if (before.values[from + 1] > before.values[best]) best = from + 1;
          if (before.values[from + across] > before.values[best]) best = from + across;
          if (before.values[from + across + 1] > before.values[best]) best = from + across + 1;
          winners[place] = best;
          this.values[place] = before.values[best];
        }
      }
    }
  }

  /** Only the number that was passed on could have changed the loss. */
  backward(count) {
    const { before } = this;
    before.gradient.fill(0, 0, count * before.size);
    for (let place = 0; place < count * this.size; place += 1) {
      before.gradient[this.winners[place]] = this.gradient[place];
    }
  }
}

/** Batch norm: each channel with mean 0 and deviation 1 over the batch, then scaled and shifted. */
export class BatchNorm extends Layer {
  constructor(name, before) {
    super(name, before, before.channels, before.height, before.width);
    this.weight = makeParameter(`${name}.weight`, [this.channels], 1);
    this.bias = makeParameter(`${name}.bias`, [this.channels]);
    this.parameters = [this.weight, this.bias];
    this.runningMean = new Float64Array(this.channels);
    this.runningVariance = new Float64Array(this.channels).fill(1);
    this.deviations = new Float64Array(this.channels); // of the batch
    this.normal = new Float64Array(0); // before they are scaled and shifted
  }

  hold(count) {
    super.hold(count);
    if (this.normal.length < count * this.size) this.normal = new Float64Array(count * this.size);
  }

  /** Call act(place) for every number of a channel, in a batch. */
  eachOf(channel, count, act) {
    for (let image = 0; image < count; image += 1) {
      const start = image * this.size + channel * this.area;
      for (let place = start; place < start + this.area; place += 1) act(place);
    }
  }

  forward(count, learning) {
    const inputs = this.before.values;
    const { values, normal } = this;
    for (let channel = 0; channel < this.channels; channel += 1) {
      const [mean, variance] = learning
        ? this.measure(channel, count) : [this.runningMean[channel], this.runningVariance[channel]];
      const deviation = Math.sqrt(variance + NORM_EPSILON);
      const [scale, shift] = [this.weight.values[channel], this.bias.values[channel]];
      this.deviations[channel] = deviation;
      this.eachOf(channel, count, (place) => {
        normal[place] = (inputs[place] - mean) / deviation;
        values[place] = scale * normal[place] + shift;
      });
    }
  }

  /** Mean and variance of a channel in this batch, which the running ones drift towards. */
  measure(channel, count) {
    const inputs = this.before.values;
    const numbers = count * this.area;
    let [sum, squares] = [0, 0];
    this.eachOf(channel, count, (place) => { sum += inputs[place]; });
    const mean = sum / numbers;
    this.eachOf(channel, count, (place) => { squares += (inputs[place] - mean) ** 2; });
    const variance = squares / numbers;
    // What is kept for reading is the variance of all digits, which a sample underrates: hence n - 1.
    const unbiased = squares / Math.max(1, numbers - 1);
    this.runningMean[channel] += NORM_MOMENTUM * (mean - this.runningMean[channel]);
    this.runningVariance[channel] += NORM_MOMENTUM * (unbiased - this.runningVariance[channel]);
    return [mean, variance];
  }

  /** Mean and deviation depend on every number of the batch: two terms take that back out. */
  backward(count) {
    const { gradient, normal } = this;
    const numbers = count * this.area;
    for (let channel = 0; channel < this.channels; channel += 1) {
      let [sum, along] = [0, 0];
      this.eachOf(channel, count, (place) => {
        sum += gradient[place];
        along += gradient[place] * normal[place];
      });
      this.bias.gradient[channel] = sum;
      this.weight.gradient[channel] = along;
      const factor = this.weight.values[channel] / this.deviations[channel];
      const [mean, slope] = [sum / numbers, along / numbers];
      this.eachOf(channel, count, (place) => {
        this.before.gradient[place] = factor * (gradient[place] - mean - normal[place] * slope);
      });
    }
  }
}

/** ReLU: what is negative becomes zero, and where it did, nothing comes back. */
export class Rectifier extends Layer {
  constructor(name, before) {
    super(name, before, before.channels, before.height, before.width);
  }

  forward(count) {
    const inputs = this.before.values;
    for (let k = 0; k < count * this.size; k += 1) this.values[k] = inputs[k] > 0 ? inputs[k] : 0;
  }

  backward(count) {
    const inputs = this.before.values;
    for (let k = 0; k < count * this.size; k += 1) {
      this.before.gradient[k] = inputs[k] > 0 ? this.gradient[k] : 0;
    }
  }
}

/** A linear layer over all numbers of the layer before: Z = X W^T + b. */
export class Linear extends Layer {
  constructor(name, before, count) {
    super(name, before, count, 1, 1);
    this.weight = makeParameter(`${name}.weight`, [count, before.size]);
    this.bias = makeParameter(`${name}.bias`, [count]);
    this.parameters = [this.weight, this.bias];
    this.fanIn = before.size;
  }

  forward(count) {
    const { size } = this.before;
    const inputs = this.before.values;
    const weights = this.weight.values;
    for (let image = 0; image < count; image += 1) {
      const start = image * size;
      for (let row = 0; row < this.size; row += 1) {
        const weight = row * size;
        let sum = this.bias.values[row];
        for (let k = 0; k < size; k += 1) sum += weights[weight + k] * inputs[start + k];
        this.values[image * this.size + row] = sum;
      }
    }
  }

  /** dW = dZ^T X, the sum of the rows of dZ is db, dX = dZ W. */
  backward(count) {
    const { before } = this;
    const { size } = before;
    const { values: weights, gradient: weightGradient } = this.weight;
    weightGradient.fill(0);
    this.bias.gradient.fill(0);
    if (!before.isInput) before.gradient.fill(0, 0, count * size);
    for (let image = 0; image < count; image += 1) {
      const start = image * size;
      for (let row = 0; row < this.size; row += 1) {
        const slope = this.gradient[image * this.size + row];
        if (slope === 0) continue;
        this.bias.gradient[row] += slope;
        const weight = row * size;
        for (let k = 0; k < size; k += 1) {
          weightGradient[weight + k] += slope * before.values[start + k];
        }
        if (before.isInput) continue;
        for (let k = 0; k < size; k += 1) before.gradient[start + k] += slope * weights[weight + k];
      }
    }
  }
}
