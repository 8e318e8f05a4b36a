/** Finds the TypeScript behind an import of JavaScript, and takes its types away. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const IS_SOURCE = /^file:.*\.ts(?=$|\?)/;

export function resolve(specifier, context, next) {
  const isBetweenSources = specifier.startsWith(".") && IS_SOURCE.test(context.parentURL ?? "");
  return next(isBetweenSources ? specifier.replace(/\.js$/, ".ts") : specifier, context);
}

export async function load(url, context, next) {
  if (!IS_SOURCE.test(url)) return next(url, context);
  const fileName = fileURLToPath(url);
  const { outputText } = ts.transpileModule(await readFile(fileName, "utf8"), {
    fileName,
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  return { format: "module", source: outputText, shortCircuit: true };
}
