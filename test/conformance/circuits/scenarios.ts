/**
 * What circuit breakers should do, as data: 45 scenarios that other libraries' tests and issues taught. Where libraries
 * disagree, the title states our choice. A scenario is one or more scripts of words, each played on a new circuit:
 *
 *   S F I R        a call that succeeds, fails, is to be ignored, is refused by a guard within
 *   a+             a call begins; `a=S` it ends. `a=F@7000` it fails and asks to be left alone for 7 s
 *   x-             a call is refused at once
 *   T1000          time passes, in milliseconds; `W-1000` steps the wall clock alone
 *   closed open half_open      where the circuit stands
 *   opens:1 warns:1 ratio:0.6 ratio:none      how often it opened, or would have; its failure ratio
 *   hold disable measure release half-open-it restart      by hand
 */
import type { Setting } from "./subject.js";

export interface Scenario {
  readonly id: number;
  readonly title: string;
  readonly setting: Setting;
  readonly scripts: readonly string[];
}

const times = (count: number, words: string) => `${words} `.repeat(count);
const consecutive = (failures: number) => ({ window: { kind: "consecutive", failures } }) as const;
/** Open after one failure, for a second; one probe closes it. */
const once: Setting = { ...consecutive(1), openMs: 1_000 };

export const SCENARIOS: readonly Scenario[] = [
  {
    id: 1,
    title: "a success ends the streak: F S F F of three stays closed and one more F opens",
    setting: consecutive(3),
    scripts: ["F S F F closed F open"],
  },
  {
    id: 2,
    title: "successes and failures in turns never make a streak of two",
    setting: consecutive(2),
    scripts: [`${times(20, "S F")} closed opens:0`],
  },
  {
    id: 3,
    title: "two failures of the last three calls open",
    setting: { window: { kind: "count", calls: 3, failures: 2 } },
    scripts: ["F S closed F open"],
  },
  {
    id: 4,
    title: "in turns there are never three failures among the last four calls",
    setting: { window: { kind: "count", calls: 4, failures: 3 } },
    scripts: [`${times(20, "S F")} closed opens:0`],
  },
  {
    id: 5,
    title: "a success may trip: by being the call that makes them enough to judge",
    setting: { window: { kind: "count", calls: 10, ratio: 0.55, minimum: 5 } },
    scripts: ["F F F S closed ratio:none S open"],
  },
  {
    id: 6,
    title: "a ratio over time: closed at 40 %, open with the failure that makes it 50 %",
    setting: { window: { kind: "time", ms: 20_000, ratio: 0.45, minimum: 5 } },
    scripts: ["S T1000 S T1000 S T1000 F T1000 F closed ratio:0.4 T1000 F open"],
  },
  {
    id: 7,
    title: "at its ratio exactly ours opens (>=); opossum, cockatiel and Sentinel want more than that (>)",
    setting: { window: { kind: "time", ms: 20_000, ratio: 0.5, minimum: 2 } },
    scripts: ["S F open"],
  },
  {
    id: 8,
    title: "too few calls never open, though all of them fail",
    setting: { window: { kind: "time", ms: 10_000, ratio: 0.9, minimum: 5 } },
    scripts: [`${times(4, "F")} closed F open`],
  },
  {
    id: 9,
    title: "failures leave the window with time: two in 200 ms, not two in 210",
    setting: { window: { kind: "time", ms: 200, failures: 2 } },
    scripts: ["F S T210 F S T50 closed F open"],
  },
  {
    id: 10,
    title: "slow calls open, successes among them",
    setting: { window: { kind: "count", calls: 10, ratio: 0.5, minimum: 5 }, slow: { ms: 4_000, ratio: 0.5 } },
    scripts: ["a+ T4000 a=F b+ T4000 b=S F S closed c+ T4000 c=S open"],
  },
  {
    id: 11,
    title:
      "a slow ratio of .8: closed at 7 of 10, and ours opens at 12 of 15 (>=), where Sentinel waits for 13 of 16 (>)",
    setting: { window: { kind: "count", calls: 100, ratio: 1, minimum: 10 }, slow: { ms: 50, ratio: 0.8 } },
    scripts: [`${times(7, "a+ T50 a=S")} S S S closed ${times(4, "a+ T50 a=S")} closed a+ T50 a=S open`],
  },
  {
    id: 12,
    title: "a slow ratio of 1 opens when all calls are slow, and not before they are enough",
    setting: { window: { kind: "count", calls: 10, ratio: 1, minimum: 5 }, slow: { ms: 50, ratio: 1 } },
    scripts: [`${times(4, "a+ T50 a=S")} closed a+ T50 a=S open`],
  },
  {
    id: 13,
    title: "open: refused before the time, half open with the first call after it",
    setting: { ...once, openMs: 5_000 },
    scripts: ["F open T3000 x- open T3000 a+ half_open"],
  },
  {
    id: 14,
    title: "half open admits as many probes as it may, and as many again after it reopened",
    setting: { ...once, probes: { permits: 4, successes: 4 } },
    scripts: ["F T1000 a+ b+ c+ d+ x- x- a=F open T1000 e+ f+ g+ h+ x-"],
  },
  {
    id: 15,
    title: "a permit that comes back unused admits one more",
    setting: { ...once, probes: { permits: 4, successes: 4 } },
    scripts: ["F T1000 a+ b+ c+ d+ x- a=I e+ x-"],
  },
  {
    id: 16,
    title: "an ignored probe is no sample: three of four good ones close",
    setting: { ...once, probes: { permits: 4, of: 4, ratio: 0.75 } },
    scripts: ["F T1000 S S S I half_open F closed", "F T1000 S S F I half_open F open"],
  },
  {
    id: 17,
    title: "one failed probe opens it at once, however many succeeded",
    setting: { ...once, probes: { successes: 3 } },
    scripts: ["F T1000 S S half_open F open"],
  },
  {
    id: 18,
    title: "two successes of four probes: two failures leave it half open, three open",
    setting: { ...once, probes: { successes: 2, of: 4 } },
    scripts: ["F T1000 S F F half_open F open"],
  },
  {
    id: 19,
    title: "three successes of four probes: after S F S the next one decides",
    setting: { ...once, probes: { successes: 3, of: 4 } },
    scripts: ["F T1000 S F S half_open S closed", "F T1000 S F S half_open F open"],
  },
  {
    id: 20,
    title: "probes are judged by their own number, not by the minimum of the window",
    setting: {
      window: { kind: "time", ms: 10_000, ratio: 0.5, minimum: 100 },
      openMs: 1_000,
      probes: { permits: 10, of: 10, ratio: 0.5 },
    },
    scripts: [`${times(100, "F")} open T1000 ${times(5, "F")} ${times(4, "S")} half_open S closed`],
  },
  {
    id: 21,
    title: "each opening in a row waits twice as long, and after a closing as long as the first",
    setting: { ...once, openFactor: 2 },
    scripts: ["F T999 x- T1 F T1999 x- T1 F T3999 x- T1 S closed F T999 x- T1 a+"],
  },
  {
    id: 22,
    title: "a probe that hangs does not hold it half open for ever: it opens, and is probed anew",
    setting: { ...once, probes: { maxMs: 1_000 } },
    scripts: ["F T1000 a+ half_open T1000 x- open T1000 b+"],
  },
  {
    id: 23,
    title: "while the probe is in flight others are refused at once; cockatiel lets them wait",
    setting: once,
    scripts: ["F T1000 a+ x- x- x-"],
  },
  {
    id: 24,
    title: "a success that began before the trip closes nothing",
    setting: once,
    scripts: ["a+ F T1000 b+ half_open a=S half_open b=F open"],
  },
  {
    id: 25,
    title: "a failure that began before the trip opens nothing: the probe decides",
    setting: once,
    scripts: ["a+ F T1000 b+ half_open a=F half_open b=S closed"],
  },
  {
    id: 26,
    title: "a failure that ends while it is open neither prolongs the wait nor opens it again",
    setting: once,
    scripts: ["a+ F T500 a=F open opens:1 T500 b+"],
  },
  {
    id: 27,
    title: "failures that end together open once, and it half-opens later",
    setting: once,
    scripts: ["a+ b+ a=F b=F opens:1 T1000 c+ half_open"],
  },
  {
    id: 28,
    title: "an ignored probe gives its permit back and the next call is a probe; opossum and Polly close",
    setting: once,
    scripts: ["F T1000 a+ x- a=I half_open b+ half_open"],
  },
  {
    id: 29,
    title: "a probe that a guard within refuses gives its permit back and decides nothing",
    setting: once,
    scripts: ["F T1000 a+ a=R half_open b+ b=S closed"],
  },
  {
    id: 30,
    title: "held open by hand it refuses, however long, until it is released",
    setting: once,
    scripts: ["hold T1000000 x- x- release a+"],
  },
  {
    id: 31,
    title:
      "ours is one hold with one owner: a later one replaces it, releasing ends it, twice is once; cockatiel counts handles",
    setting: once,
    scripts: ["hold hold x- release release a+"],
  },
  {
    id: 32,
    title: "disabled, everything passes and nothing counts",
    setting: { window: { kind: "time", ms: 10_000, ratio: 0.9, minimum: 3 } },
    scripts: [`disable ${times(100, "F")} opens:0 release F F closed F open`],
  },
  {
    id: 33,
    title: "measuring only, everything passes, and it says once that it would have opened",
    setting: { window: { kind: "time", ms: 10_000, ratio: 0.9, minimum: 3 } },
    scripts: [`measure ${times(100, "F")} warns:1`],
  },
  {
    id: 34,
    title: "one outcome may open it for a stated time, whatever the window says",
    setting: { window: { kind: "time", ms: 10_000, ratio: 0.5, minimum: 100 }, openMs: 1_000 },
    scripts: ["a+ a=F@7000 open T6999 x- T1 b+"],
  },
  {
    id: 35,
    title: "nobody half-opens a closed circuit by hand",
    setting: once,
    scripts: ["half-open-it closed S closed"],
  },
  {
    id: 36,
    title: "closing empties the window: the minimum applies again",
    setting: { window: { kind: "time", ms: 60_000, ratio: 0.55, minimum: 2 }, openMs: 1_000 },
    scripts: ["F F open T1000 S closed F closed F open"],
  },
  {
    id: 37,
    title: "saved open with 50 ms left, it half-opens after 50 ms",
    setting: { ...once, openMs: 300 },
    scripts: ["F T250 restart T49 x- T1 a+ half_open"],
  },
  {
    id: 38,
    title: "saved while a probe was in flight, there is one new probe and not two",
    setting: once,
    scripts: ["F T1000 a+ restart b+ x-"],
  },
  {
    id: 39,
    title: "saved while held by hand, it is held, and can be released",
    setting: once,
    scripts: ["hold restart x- release a+"],
  },
  {
    id: 40,
    title: "what left the window while nothing happened does not count",
    setting: { window: { kind: "time", ms: 100, ratio: 0.5, minimum: 11 } },
    scripts: [`${times(10, "F")} closed T500 S F closed`],
  },
  {
    id: 41,
    title: "a wall clock that steps back an hour does not keep it open, one that steps ahead does not end its wait",
    setting: { ...once, openMs: 50 },
    scripts: ["F W-3600000 T49 x- T1 a+", "F W3600000 T49 x- T1 a+"],
  },
  {
    id: 42,
    title: "calls in flight do not dilute the ratio",
    setting: { window: { kind: "time", ms: 10_000, ratio: 0.9, minimum: 5 } },
    scripts: ["a+ b+ c+ d+ e+ f+ g+ h+ i+ j+ a=F b=F c=F d=F closed e=F open"],
  },
  {
    id: 43,
    title: "what a bulkhead within refuses does not touch the circuit",
    setting: once,
    scripts: ["a+ R R closed opens:0 a=S closed"],
  },
  {
    id: 44,
    title: "an ignored outcome neither counts nor ends the streak",
    setting: consecutive(2),
    scripts: ["F I closed F open"],
  },
  {
    id: 45,
    title: "held open while a probe is in flight, it stays held when the probe succeeds",
    setting: once,
    scripts: ["F T1000 a+ hold a=S x-"],
  },
];
