/** A row to write. What is absent is `undefined` and becomes NULL: a `null` in a JSON column would be the text "null". */
export type NewRow<Insert> = {
  readonly [Field in keyof Insert]: Exclude<Insert[Field], null> | undefined;
};
