/**
 * Names of circuits as a tree, from what is general to what is special: `llm:openai/gpt-4.1-mini/cred:ab12` lies below
 * `llm:openai/gpt-4.1-mini`, and that below `llm:openai`; `db:main/select` lies below `db:main`. Pure.
 */

/** Between a name and what it is narrowed down to. */
export const KEY_SEPARATOR = "/";

/** The name right above; undefined at the top. */
export function parentOf(name: string): string | undefined {
  const end = name.lastIndexOf(KEY_SEPARATOR);
  return end > 0 ? name.slice(0, end) : undefined;
}

/** All names above, the nearest first. */
export function ancestorsOf(name: string): readonly string[] {
  const ancestors: string[] = [];
  for (let above = parentOf(name); above !== undefined; above = parentOf(above)) ancestors.push(above);
  return ancestors;
}

export interface ParentRule {
  /** Share of the circuits right below that are not closed; more than 0, at most 1. */
  readonly share: number;
  /** How many they are at least; 1 or more. */
  readonly minimum: number;
}

/** Whether so many of its children have tripped that a parent trips with them. */
export function tripsParent(tripped: number, children: number, { share, minimum }: ParentRule): boolean {
  return tripped >= minimum && tripped >= share * children;
}
