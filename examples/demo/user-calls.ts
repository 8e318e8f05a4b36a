/** What each user saw, one row a call: the ground on which both runs are compared. */
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { integer, real, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { PROCEDURES } from "./schedule.js";

export const RUNS = ["with", "without"] as const;
export type Run = (typeof RUNS)[number];

/**
 * answered  the user got what was asked for, the front desk's answer included
 * refused   the user was told what was wrong with the request: a slot that is taken
 * failed    an error, or nothing before the user gave up
 */
export const USER_OUTCOMES = ["answered", "refused", "failed"] as const;
export type UserOutcome = (typeof USER_OUTCOMES)[number];

export const userCalls = sqliteTable("user_calls", {
  id: integer().primaryKey(),
  run: text({ enum: RUNS }).notNull(),
  /** 1 is the first phase of the story; 0 stands for the calls before it. */
  phase: integer().notNull(),
  procedure: text({ enum: PROCEDURES }).notNull(),
  /** UTC milliseconds. */
  startedAt: integer("started_at").notNull(),
  durationMs: real("duration_ms").notNull(),
  outcome: text({ enum: USER_OUTCOMES }).notNull(),
  /** tRPC's code; `GAVE_UP` where the user's deadline came first, `NO_ANSWER` where no tRPC answer came. */
  errorCode: text("error_code"),
  /** Of `ask`: the provider, or the front desk. */
  answeredBy: text("answered_by"),
});

/** When each part of the story began, so that a time can be told as a place in it. */
export const storyPhases = sqliteTable("story_phases", {
  id: integer().primaryKey(),
  run: text({ enum: RUNS }).notNull(),
  phase: integer().notNull(),
  name: text().notNull(),
  /** UTC milliseconds. */
  startedAt: integer("started_at").notNull(),
});

export type UserCall = typeof userCalls.$inferInsert;

export function openUserCalls(path: string) {
  const sqlite = new Database(path);
  sqlite.pragma("journal_mode = WAL");
  sqlite.pragma("synchronous = OFF");
  sqlite.exec(`
    create table if not exists user_calls (
      id integer primary key, run text not null, phase integer not null, procedure text not null,
      started_at integer not null, duration_ms real not null, outcome text not null, error_code text, answered_by text
    );
    create table if not exists story_phases (
      id integer primary key, run text not null, phase integer not null, name text not null, started_at integer not null
    );
  `);
  return drizzle(sqlite, { schema: { userCalls, storyPhases } });
}

export type UserCalls = ReturnType<typeof openUserCalls>;
