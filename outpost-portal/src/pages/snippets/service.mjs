import { createHmac, timingSafeEqual } from "node:crypto";

// Whether a request is genuine. headers: as node:http has them, names in lower case. body: a Buffer of the bytes
// as they came, before any parsing.
export function verify(headers, body) {
  const secret = process.env.WEBHOOK_SECRET;
  if (!secret) throw new Error("WEBHOOK_SECRET is not set");
BEGIN_TIME

  // The signature does not cover the time, so remember the ids that you have seen as well.
  const sent = Date.parse(headers["HEADER_TIMESTAMP"] ?? "");
  if (!(Math.abs(Date.now() - sent) <= 300_000)) return false;
END_TIME

  const expected = Buffer.from(createHmac("sha256", secret).update(body).digest("hex"));
  const [version, list] = (headers["HEADER_SIGNATURE"] ?? "").split("=");
  // There are two signatures while an old secret is still valid.
  return version === "v0" && (list ?? "").split(",").some((given) => {
    const bytes = Buffer.from(given);
    return bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
}
