/** Names providers for `gen_ai.provider.name`: OpenTelemetry's word where the provider is known, else the user's. */

/** By the end of the host that is asked. */
const BY_HOST: readonly (readonly [RegExp, string])[] = [
  [/^api\.openai\.com$/, "openai"],
  [/\.openai\.azure\.com$/, "azure.ai.openai"],
  [/\.ai\.azure\.com$/, "azure.ai.inference"],
  [/^api\.anthropic\.com$/, "anthropic"],
  [/^api\.deepseek\.com$/, "deepseek"],
  [/^generativelanguage\.googleapis\.com$/, "gcp.gemini"],
  [/aiplatform\.googleapis\.com$/, "gcp.vertex_ai"],
  [/^bedrock[\w-]*\..*amazonaws\.com$/, "aws.bedrock"],
  [/^api\.groq\.com$/, "groq"],
  [/^api\.mistral\.ai$/, "mistral_ai"],
  [/^api\.perplexity\.ai$/, "perplexity"],
  [/^api\.x\.ai$/, "x_ai"],
  [/^api\.cohere\.(?:com|ai)$/, "cohere"],
];

/** By the first words of what a model of the AI SDK calls its provider. */
const BY_MODEL: readonly (readonly [RegExp, string])[] = [
  [/^azure\b/, "azure.ai.openai"],
  [/^google\.vertex\b/, "gcp.vertex_ai"],
  [/^google\b/, "gcp.gemini"],
  [/^(?:amazon-)?bedrock\b/, "aws.bedrock"],
  [/^mistral\b/, "mistral_ai"],
  [/^xai\b/, "x_ai"],
  [/^openai\b/, "openai"],
  [/^anthropic\b/, "anthropic"],
  [/^deepseek\b/, "deepseek"],
  [/^groq\b/, "groq"],
  [/^perplexity\b/, "perplexity"],
  [/^cohere\b/, "cohere"],
];

/**
 * @param url that is asked
 * @param name the user's own
 * @example providerNameAt("https://generativelanguage.googleapis.com/v1beta/openai", "gemini") // "gcp.gemini"
 */
export function providerNameAt(url: string, name: string): string {
  return URL.canParse(url) ? known(BY_HOST, new URL(url).hostname, name) : name;
}

/** @example providerNameOfModel("google.generative-ai") // "gcp.gemini" */
export function providerNameOfModel(provider: string): string {
  return known(BY_MODEL, provider, provider);
}

function known(names: readonly (readonly [RegExp, string])[], text: string, otherwise: string): string {
  return names.find(([pattern]) => pattern.test(text))?.[1] ?? otherwise;
}
