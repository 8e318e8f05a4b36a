/** The public door of the package: everything that is promised, by name. */

export type { Role } from "../shared/access.js";
export type {
  CircuitCounts,
  CircuitHold,
  CircuitSharing,
  CircuitSnapshot,
  CircuitState,
  CircuitTransition,
} from "../shared/circuit.js";
export { CIRCUIT_PRESETS, type CircuitConfig, type CircuitPreset } from "../shared/circuit-config.js";
export { isParamedicError, ParamedicError, type ParamedicErrorCode } from "../shared/errors.js";
export type {
  DetectionMethod,
  Failure,
  FailureCategory,
  FailureEvent,
  FailureType,
  Severity,
} from "../shared/failure.js";
export { type FeatureFlags, parseFeatureFlags, SELF_HEALING_FEATURE_FLAGS } from "../shared/feature-flags.js";
export type {
  Criticality,
  HealthCheckOutcome,
  HealthCheckResult,
  HealthReport,
  HealthStatus,
} from "../shared/health.js";
export type { Mode } from "../shared/mode.js";
export type {
  ActionStatus,
  ActionType,
  RecoveryAction,
  RecoveryStrategy,
  Rescue,
  RescueKind,
  RescueOperation,
  StrategyResult,
} from "../shared/recovery.js";
export type { RecoveryPolicy } from "../shared/recovery-policy.js";
export type { Accounting, Batch, BatchGap, SeriesPoint } from "../shared/series.js";
export type { Authorize } from "./api/access.js";
export type { HttpHandler } from "./api/http-handler.js";
export type { ParamedicRouter } from "./api/router.js";
export { CircuitBreaker, type CircuitBreakerDeps, type CircuitBreakerState } from "./circuit/circuit-breaker.js";
export { CircuitBreakerError, CircuitTimeoutError } from "./circuit/circuit-breaker-error.js";
export { CircuitBreakerRegistry, type CircuitBreakerRegistryOptions } from "./circuit/circuit-breaker-registry.js";
export type { CircuitBreakerOptions } from "./circuit/circuit-config.js";
export type { CircuitNotice } from "./circuit/circuit-notice.js";
export type { PanicReport } from "./circuit/panic-threshold.js";
export type { ShadowReport } from "./circuit/shadow-rule.js";
export type { Judgement } from "./circuit/verdict.js";
export type { ExpressOptions, Paramedic } from "./door.js";
export { DatabaseError, type DatabaseErrorReason } from "./guard/database/database-error.js";
export type { DatabasePolicy } from "./guard/database/guard-database.js";
export type { TransactionOptions } from "./guard/database/transaction.js";
export { TransactionError, type TransactionErrorReason } from "./guard/database/transaction-error.js";
export type { Detailed, ExecuteOptions, Guard, GuardContext, GuardSnapshot } from "./guard/guard.js";
export { GuardError, type GuardErrorReason } from "./guard/guard-error.js";
export type { GuardPolicy } from "./guard/guard-policy.js";
export type { HedgePolicy } from "./guard/hedge-policy.js";
export type { GuardFetchOptions } from "./guard/llm/guard-fetch.js";
export type { Llm, LlmFallback, LlmOptions } from "./guard/llm/llm.js";
export type {
  ChatChunk,
  ChatCompletion,
  ChatOptions,
  ChatRequest,
  ChatStream,
  EmbeddingResponse,
  EmbedRequest,
  ParsedChatCompletion,
  ParseRequest,
} from "./guard/llm/llm-requests.js";
export { MalformedResponseError } from "./guard/llm/malformed-response-error.js";
export type { LlmPrice, LlmProvider } from "./guard/llm/provider.js";
export type { Fetch } from "./guard/llm/reveal-failures.js";
export { type StreamBreak, StreamBrokenError } from "./guard/llm/stream/stream-broken-error.js";
export type { Operation, OperationDefinition } from "./guard/operation.js";
export type { Usage } from "./guard/rescue-budget.js";
export type { RescueBudgetPolicy } from "./guard/rescue-budget-policy.js";
export type { RunDefinition, RunTarget, TargetTraits } from "./guard/run.js";
export type { ServicePart } from "./guard/service-part.js";
export { registerBuiltInHealthChecks } from "./health/built-in-checks.js";
export { HealthCheckRegistry } from "./health/health-check-registry.js";
export { HealthMonitorService } from "./health/health-monitor-service.js";
export { createInstrumentationMiddleware } from "./instrumentation/instrumentation-middleware.js";
export type { OpenTelemetryApi } from "./instrumentation/open-telemetry.js";
export { OperationTracker } from "./instrumentation/operation-tracker.js";
export { OverloadError } from "./instrumentation/overload.js";
export { MetricsCollector, type MetricsCollectorOptions } from "./metrics-collector.js";
export type { ParamedicOptions, RestartPolicy } from "./options.js";
export { createParamedic } from "./paramedic.js";
export type { Logger } from "./ports/logger.js";
export type { MetricPoint, SeriesHandle } from "./ports/metric-sink.js";
export type { Store } from "./ports/store.js";
export type { HealReport } from "./ports/watchdog.js";
export type { OperatorAlert } from "./recovery/alert-operator-strategy.js";
export { FailoverStrategy } from "./recovery/failover-strategy.js";
export type { Feature, FeatureOptions } from "./recovery/features.js";
export type { LastGood, LastGoodOptions, RememberedValue } from "./recovery/last-good.js";
export type { Reconnectable } from "./recovery/reconnect-strategy.js";
export { type HandledFailure, RecoveryEngine } from "./recovery/recovery-engine.js";
export { RetryStrategy } from "./recovery/retry-strategy.js";
export type { ScaleWebhook } from "./recovery/scale-strategy.js";
export { type HealableMachine, StateMachineStrategy } from "./recovery/state-machine-strategy.js";
export type { StuckTask, TaskSource } from "./watchdog/stuck-tasks.js";
export type { Task, TaskOptions, Tasks } from "./watchdog/tasks.js";
