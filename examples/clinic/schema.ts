/** The clinic's own tables; nothing here knows Paramedic. */
import { integer, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";

export const patients = sqliteTable("patients", {
  id: integer().primaryKey(),
  name: text().notNull(),
});

export const appointments = sqliteTable(
  "appointments",
  {
    id: integer().primaryKey(),
    patientId: integer("patient_id")
      .notNull()
      .references(() => patients.id),
    doctor: text().notNull(),
    /** UTC milliseconds. */
    startsAt: integer("starts_at").notNull(),
  },
  (table) => [unique("appointments_doctor_starts_at").on(table.doctor, table.startsAt)],
);

export const notes = sqliteTable("notes", {
  id: integer().primaryKey(),
  patientId: integer("patient_id")
    .notNull()
    .references(() => patients.id),
  body: text().notNull(),
  /** UTC milliseconds. */
  createdAt: integer("created_at").notNull(),
});

export type Appointment = typeof appointments.$inferSelect;
export type Note = typeof notes.$inferSelect;

/** The same tables in SQL, for an empty database. */
export const CREATE_TABLES = `
  create table if not exists patients (id integer primary key, name text not null);
  create table if not exists appointments (
    id integer primary key,
    patient_id integer not null references patients (id),
    doctor text not null,
    starts_at integer not null,
    constraint appointments_doctor_starts_at unique (doctor, starts_at)
  );
  create table if not exists notes (
    id integer primary key,
    patient_id integer not null references patients (id),
    body text not null,
    created_at integer not null
  );
`;
