// Ways to break a training, and what each of them is to show. What is said of them was seen with the
// networks and settings of this page.

const chapter = (number, file, words) => ({ file, words: `chapter ${number}, ${words}` });
const START = chapter(7, "ch07_go_deeper.html#why-variance-through-layers", "Why: variance through layers");
const DESCENT = chapter(2, "ch02_fit_a_linear_classifier.html#gradient-descent", "Gradient descent");
const RATE = chapter(5, "ch05_train_a_cnn.html#which-learning-rate", "Which learning rate?");
const LOOP = chapter(1, "ch01_prepare_the_data.html#what-goes-wrong", "What goes wrong");
const BY_HEART = chapter(8, "ch08_regularise_and_debug.html#the-network-that-learns-by-heart",
  "The network that learns by heart");

/** { key, name, settings, explain(model) }: explain returns { said, link }. */
export const WAYS = [
  { key: "", name: "not at all", settings: {}, explain: () => null },
  {
    key: "zero",
    name: "all weights start at zero",
    settings: { atZero: true },
    explain: (model) => (model === "linear"
      ? { said: "This one gets away with it: the ten outputs of a linear classifier get different " +
          "gradients from the first digit on, so it learns from zero as from anywhere else. Choose " +
          "a network with more layers.",
        link: DESCENT }
      : { said: "Where all weights are zero, every hidden number is zero, and no gradient passes. " +
          "Only the last biases learn, and they say the same of every digit: one in ten is right.",
        link: START }),
  },
  {
    key: "rate",
    name: "a learning rate of 10",
    settings: { rate: 10 },
    explain: (model) => ({
      said: "Every step leaps over the valley and lands high on its other side. " + (model === "linear"
        ? "The loss is in the hundreds. Most digits are read all the same, since for that it only " +
          "matters which of ten numbers is the largest."
        : "The first steps throw the weights so far that they do not find back: one in ten is right."),
      link: RATE,
    }),
  },
  {
    key: "sorted",
    name: "no shuffling",
    settings: { sorted: true },
    explain: () => ({
      said: "All zeros come first, and all nines last. Each batch holds one digit, so the network " +
        "learns to say that digit and forgets the one before; its loss falls, and jumps with every " +
        "new digit.",
      link: LOOP,
    }),
  },
  {
    key: "mixed",
    name: "labels mixed up",
    settings: { mixed: true },
    explain: () => ({
      said: "The labels have been dealt out anew, so the digits say nothing about them. What the loss " +
        "still loses, the network has learnt by heart; of other digits it reads one in ten, as by " +
        "guessing.",
      link: BY_HEART,
    }),
  },
];
