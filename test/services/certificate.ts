/** A certificate for 127.0.0.1 that signed itself, made by openssl; nobody trusts it unless told to. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** The certificate as text. */
  readonly pem: string;
  remove(): void;
}

export function createCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-certificate-"));
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const { status, error, stderr } = spawnSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", keyFile, "-out", certFile, "-days", "1"].concat(
      "-subj",
      "/CN=127.0.0.1",
      "-addext",
      "subjectAltName=IP:127.0.0.1",
    ),
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`tests need openssl to make a certificate: ${error?.message ?? stderr.trim()}`);
  return {
    certFile,
    keyFile,
    pem: readFileSync(certFile, "utf8"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
