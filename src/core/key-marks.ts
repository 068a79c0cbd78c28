/**
 * Private keys in bytes that are to be shown or kept, other than as the text of a PEM: `inline_bytes` inside a `TypedStruct` is JSON, and
 * so the base64 of one. Such a key cannot be overwritten without knowing where it ends.
 */
const WORDS = Buffer.from('PRIVATE KEY');

/** The base64 of the words, without what depends on their neighbours, for each of the three places where they can begin. */
const MARKS = [0, 1, 2].map((before) => {
  const text = Buffer.concat([Buffer.alloc(before), WORDS]).toString('base64');
  return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + WORDS.length) * 8) / 6));
});

export function holdsEncodedKey(bytes: Buffer): boolean {
  return MARKS.some((mark) => bytes.includes(mark, 0, 'latin1'));
}
