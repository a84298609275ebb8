import { createPublicKey, verify as check } from "node:crypto";

// Whether a request is genuine and not older than five minutes. headers: as node:http has them, names in lower
// case. body: a Buffer of the bytes as they came, before any parsing.
export function verify(headers, body) {
  const text = process.env.WEBHOOK_PUBLIC_KEY;
  if (!text?.startsWith("whpk_")) throw new Error("WEBHOOK_PUBLIC_KEY is not set");
  // What every ed25519 key begins with when it is written in DER.
  const start = Buffer.from("302a300506032b6570032100", "hex");
  const der = Buffer.concat([start, Buffer.from(text.slice("whpk_".length), "base64")]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });

  const id = headers["HEADER_ID"] ?? "";
  const timestamp = headers["HEADER_TIMESTAMP"] ?? "";
  const signatures = headers["HEADER_SIGNATURE"] ?? "";
  if (!/^[0-9]{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;

  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  // There are two signatures while an old key is still valid.
  return signatures.split(" ").some((given) => {
    const [version, signature] = given.split(",");
    return version === "v1a" && check(null, signed, key, Buffer.from(signature ?? "", "base64"));
  });
}
