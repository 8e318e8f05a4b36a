/** A metric reader that nobody asks: OpenTelemetry measures for somebody, and exports nothing. */
import { MetricReader } from "@opentelemetry/sdk-metrics";

/** Without a reader the SDK keeps nothing, and would cost nothing. */
export class ReaderNobodyAsks extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}
