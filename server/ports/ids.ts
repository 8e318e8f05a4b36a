/** Ids, passed in. */
import { nanoid } from "nanoid";

/** A new unique id, URL-safe, 21 characters with the built-in source. */
export type Ids = () => string;

export const systemIds: Ids = () => nanoid();
