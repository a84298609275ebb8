import { createHmac, timingSafeEqual } from "node:crypto";

// Whether a request is genuine and not older than five minutes. headers: as node:http has them, names in lower
// case. body: a Buffer of the bytes as they came, before any parsing.
export function verify(headers, body) {
  const secret = process.env.WEBHOOK_SECRET;
  if (!secret?.startsWith("whsec_")) throw new Error("WEBHOOK_SECRET is not set");
  const key = Buffer.from(secret.slice("whsec_".length), "base64");

  const id = headers["HEADER_ID"] ?? "";
  const timestamp = headers["HEADER_TIMESTAMP"] ?? "";
  const signatures = headers["HEADER_SIGNATURE"] ?? "";
  if (!/^[0-9]{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;

  const mac = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body);
  const expected = Buffer.from("v1," + mac.digest("base64"));
  // There are two signatures while an old secret is still valid.
  return signatures.split(" ").some((given) => {
    const bytes = Buffer.from(given);
    return bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
}
