import { describe, expect, it } from "vitest";
import { providerNameAt, providerNameOfModel } from "../../../server/guard/llm/provider-name.js";

describe("a provider is named for OpenTelemetry", () => {
  it.each([
    ["https://api.openai.com/v1", "openai"],
    ["https://api.deepseek.com", "deepseek"],
    ["https://generativelanguage.googleapis.com/v1beta/openai/", "gcp.gemini"],
    ["https://europe-west1-aiplatform.googleapis.com/v1", "gcp.vertex_ai"],
    ["https://api.anthropic.com/v1/messages", "anthropic"],
    ["https://clinic.openai.azure.com/openai", "azure.ai.openai"],
    ["https://bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"],
    ["https://api.mistral.ai/v1", "mistral_ai"],
  ])("by its address: %s is %s", (url, name) => {
    expect(providerNameAt(url, "mine")).toBe(name);
  });

  it.each([
    "https://llm.clinic.example/v1",
    "http://127.0.0.1:8080",
    "https://api.openai.com.evil.example",
    "/v1/chat",
  ])("by the user's word where it is not known: %s", (url) => {
    expect(providerNameAt(url, "mine")).toBe("mine");
  });

  it.each([
    ["openai.responses", "openai"],
    ["anthropic.messages", "anthropic"],
    ["google.generative-ai", "gcp.gemini"],
    ["google.vertex.chat", "gcp.vertex_ai"],
    ["mistral.chat", "mistral_ai"],
    ["clinic.chat", "clinic.chat"],
  ])("by its model of the AI SDK: %s is %s", (provider, name) => {
    expect(providerNameOfModel(provider)).toBe(name);
  });
});
