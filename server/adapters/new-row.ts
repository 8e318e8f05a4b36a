/**
 * A row to write, every column named. What is absent is `undefined` and becomes NULL: a `null` in a JSON column would be the
 * text "null".
 */
export type NewRow<Insert> = {
  readonly [Field in keyof Insert]: undefined extends Insert[Field]
    ? Exclude<Insert[Field], null> | undefined
    : Insert[Field];
};
