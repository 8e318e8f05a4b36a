/** Environment variables as values: what each may hold, and a strict parser that reports every problem at once. */
import { nearestName } from "./nearest-name.js";

/** What one variable may hold. `example` is shown beside every complaint. */
export type VariableSpec =
  | { readonly kind: "boolean"; readonly default: boolean; readonly about: string }
  | {
      readonly kind: "integer";
      readonly default: number;
      readonly min: number;
      readonly max: number;
      readonly about: string;
    }
  | {
      readonly kind: "choice";
      readonly default: string;
      readonly choices: readonly string[];
      readonly about: string;
    }
  | {
      readonly kind: "text";
      readonly default: string | undefined;
      /** Matches the whole value. */
      readonly pattern: RegExp;
      /** The pattern in words. */
      readonly legal: string;
      readonly example: string;
      readonly about: string;
      /** Its value is never shown. */
      readonly secret?: boolean;
    };

export type VariableSpecs = Readonly<Record<string, VariableSpec>>;

/** The values that a table of specs describes. */
export type VariableValues<Specs extends VariableSpecs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends { kind: "boolean" }
    ? boolean
    : Specs[Name] extends { kind: "integer" }
      ? number
      : Specs[Name] extends { kind: "choice"; choices: readonly (infer Choice)[] }
        ? Choice
        : Specs[Name] extends { default: string }
          ? string
          : string | undefined;
};

export type VariableSource = Readonly<Record<string, string | undefined>>;

/**
 * Reads `source` by `specs`. Numbers are digits only: `1e3`, `0x10`, ` 12 ` and the empty string are refused, because a
 * timeout that is not what its author meant is found at night. Booleans are `true`, `false`, `1`, `0`.
 *
 * @returns every value, defaults filled in, and one line per problem: the name, what it got, what is legal, an example.
 * @example parseVariables({ PORT: { kind: "integer", default: 3000, min: 1, max: 65535, about: "" } }, { PORT: "80" }).values.PORT // 80
 */
export function parseVariables<const Specs extends VariableSpecs>(
  specs: Specs,
  source: VariableSource,
): { readonly values: VariableValues<Specs>; readonly problems: readonly string[] } {
  const values: Record<string, boolean | number | string | undefined> = {};
  const problems: string[] = [];
  for (const [name, spec] of Object.entries(specs)) {
    const raw = source[name];
    const parsed = raw === undefined ? { ok: true as const, value: spec.default } : parseOne(spec, raw);
    values[name] = parsed.ok ? parsed.value : spec.default;
    if (!parsed.ok) {
      const got = spec.kind === "text" && spec.secret ? `a secret of ${raw?.length ?? 0} characters` : shown(raw ?? "");
      problems.push(`${name}: got ${got}; legal: ${legalOf(spec)}; example: ${name}=${exampleOf(spec)}`);
    }
  }
  return { values: asValues<Specs>(values), problems };
}

/** Complaints about variables that start with one of `prefixes` and that no spec knows: most are typing errors. */
export function unknownVariables(
  known: readonly string[],
  prefixes: readonly string[],
  source: VariableSource,
): readonly string[] {
  return Object.keys(source)
    .filter((name) => prefixes.some((prefix) => name.startsWith(prefix)) && !known.includes(name))
    .map((name) => {
      const nearest = nearestName(name, known);
      return `${name}: no such variable${nearest === undefined ? "" : `; did you mean ${nearest}?`}`;
    });
}

/** Each name of `specs` has been given a value of its spec's kind by the loop above. */
function asValues<Specs extends VariableSpecs>(
  values: Record<string, boolean | number | string | undefined>,
): VariableValues<Specs> {
  return Object.freeze(values) as VariableValues<Specs>;
}

type Parsed = { readonly ok: true; readonly value: boolean | number | string | undefined } | { readonly ok: false };

function parseOne(spec: VariableSpec, raw: string): Parsed {
  switch (spec.kind) {
    case "boolean":
      if (raw === "true" || raw === "1") return { ok: true, value: true };
      if (raw === "false" || raw === "0") return { ok: true, value: false };
      return { ok: false };
    case "integer": {
      const value = /^\d{1,15}$/.test(raw) ? Number(raw) : Number.NaN;
      return value >= spec.min && value <= spec.max ? { ok: true, value } : { ok: false };
    }
    case "choice":
      return spec.choices.includes(raw) ? { ok: true, value: raw } : { ok: false };
    case "text":
      return raw.length <= LONGEST_TEXT && spec.pattern.test(raw) ? { ok: true, value: raw } : { ok: false };
  }
}

/** Far beyond any URL or token, and short enough that no pattern is run over something huge. */
const LONGEST_TEXT = 4_096;

function legalOf(spec: VariableSpec): string {
  switch (spec.kind) {
    case "boolean":
      return "true, false, 1, 0";
    case "integer":
      return `a whole number in [${spec.min}, ${spec.max}]`;
    case "choice":
      return spec.choices.join(", ");
    case "text":
      return spec.legal;
  }
}

function exampleOf(spec: VariableSpec): string {
  return spec.kind === "text" ? spec.example : String(spec.default);
}

/** Control characters escaped and cut short: a complaint is one line. */
function shown(raw: string): string {
  return JSON.stringify(raw.length > 60 ? `${raw.slice(0, 60)}…` : raw);
}
