// What keeps a picture from being read; the message is a sentence for the reader.

export class PhotoError extends Error {}
