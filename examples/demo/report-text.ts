/** The report as plain text, at most 100 columns wide; the right of each heading names the tables that were read. */
import type { Report } from "./report.js";
import { type Cell, textTable } from "./text-table.js";
import type { PhaseSeen } from "./user-rows.js";

const WIDTH = 100;

export function reportText(report: Report): string {
  const { speed, seed, checks } = report;
  const title = `The same ${report.with.calls} calls with Paramedic and without it (speed ${speed}, seed ${seed})`;
  const verdict = textTable(
    ["", "check", "numbers"],
    checks.map(({ claim, numbers, holds }) => [holds ? "holds" : "FAILS", claim, numbers]),
  );
  return [
    title,
    section("What users saw fail", "user_calls, story_phases", failuresSeen(report)),
    section("Who answered ask", "user_calls", answers(report)),
    section(
      "Milliseconds in the server, for users with, for users without",
      "system_health_metrics; user_calls",
      times(report),
    ),
    section("What failed behind the calls", "failure_events", failures(report)),
    section("What was rescued, and how", "recovery_actions, failure_events", rescues(report)),
    section("Recovery actions by strategy and status", "recovery_actions", actions(report)),
    section("Circuits", "circuit_transitions, story_phases", transitions(report)),
    section("Accounting", "paramedic_ingest_boots", accounting(report)),
    section("Checks", "all of these", verdict),
  ].join("\n\n");
}

function section(title: string, source: string, body: string): string {
  return `${title} ${"-".repeat(Math.max(3, WIDTH - title.length - source.length - 2))} ${source}\n${body}`;
}

function failuresSeen({ with: withParamedic, without, failedWhileHealthy }: Report): string {
  const rows = withParamedic.phases.map(({ phase, name, calls, failed }): readonly Cell[] => [
    name,
    calls,
    failed,
    without.phases.find((other) => other.phase === phase)?.failed,
  ]);
  const table = textTable(
    ["phase", "calls", "failed with", "failed without"],
    [...rows, ["total", withParamedic.calls, withParamedic.failed, without.failed]],
  );
  if (failedWhileHealthy === 0) return table;
  return `${table}\n  ${failedWhileHealthy} of these came while nothing was broken: this machine is too busy for this speed.`;
}

function answers({ with: withParamedic, without }: Report): string {
  const names = [...new Set([...withParamedic.answeredBy.keys(), ...without.answeredBy.keys()])];
  return textTable(
    ["answered by", "with", "without"],
    names.map((name) => [name, withParamedic.answeredBy.get(name) ?? 0, without.answeredBy.get(name) ?? 0]),
  );
}

function times({ with: withParamedic, without, paramedic }: Report): string {
  const heads = ["server", "with", "without"].flatMap((whose) => [`${whose} p50`, "p95", "p99"]);
  const rows = withParamedic.procedures.map(({ procedure, calls, p50, p95, p99 }): readonly Cell[] => {
    const server = paramedic.procedures.find(({ path }) => path === procedure);
    const plain = without.procedures.find((other) => other.procedure === procedure);
    return [procedure, calls, server?.p50, server?.p95, server?.p99, p50, p95, p99, plain?.p50, plain?.p95, plain?.p99];
  });
  return textTable(["procedure", "calls", ...heads], rows);
}

function failures({ paramedic }: Report): string {
  return textTable(
    ["service", "failure", "severity", "rows", "times"],
    paramedic.failures.map(({ service, failureType, severity, events, occurrences }) => [
      service,
      failureType,
      severity,
      events,
      occurrences,
    ]),
  );
}

function rescues({ paramedic }: Report): string {
  return textTable(
    ["failure", "strategy", "target", "status", "times"],
    paramedic.rescues.map(({ failureType, strategy, target, status, times: many }) => [
      failureType,
      strategy,
      target,
      status,
      many,
    ]),
  );
}

function actions({ paramedic }: Report): string {
  return textTable(
    ["strategy", "scope", "status", "rows", "times"],
    paramedic.actions.map(({ strategy, scope, status, rows, times: many }) => [strategy, scope, status, rows, many]),
  );
}

function transitions({ paramedic, with: { phases } }: Report): string {
  const story = phases.find(({ phase }) => phase === 1)?.startedAt ?? 0;
  return textTable(
    ["at", "during", "circuit", "transition", "reason"],
    paramedic.transitions.map(({ at, circuit, from, to, reason }) => [
      `${((at - story) / 1_000).toFixed(2)} s`.padStart(9),
      phaseAt(phases, at),
      circuit,
      `${from} to ${to}`,
      reason,
    ]),
  );
}

function phaseAt(phases: readonly PhaseSeen[], at: number): string | undefined {
  return phases.findLast(({ startedAt }) => startedAt <= at)?.name;
}

/** The clinic has closed: what it did not hand on is not in flight any more but lost. */
function accounting({ paramedic }: Report): string {
  const { recorded, rolledUp, dropped, missing, batches } = paramedic.accounting;
  return `  recorded ${recorded} = rolled up ${rolledUp} + dropped ${dropped} + lost ${missing}, in ${batches} batches; none in flight`;
}
