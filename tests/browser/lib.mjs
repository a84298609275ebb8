// What all tests share: the host under test, the browser, and ways into a portal.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after } from 'node:test'
import { chromium } from 'playwright-core'

// Failures here are told by what was found, not by where.
Error.stackTraceLimit = 4
const require = createRequire(import.meta.url)
export const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
export const SIZES = { desktop: [1280, 800], phone: [390, 844], narrow: [320, 640] }
export const THEMES = ['light', 'dark']

const ports = (process.env.PORTAL_HOST ?? '').trim().split(' ')
if (ports.length !== 3) throw new Error('PORTAL_HOST is not set: start tests with run.sh')
/** The three origins of the host; see tests/src/bin/portal-host/main.rs. */
export const [A, B, C] = ports.map(at => `http://${at}`)

/** Each way the portal is mounted, by its name. */
export const MOUNTS = {
  webhooks: `${A}/webhooks/`,
  own: `${A}/own/portal/`,
  root: `${B}/`,
  proxied: `${C}/a/b/`,
}

const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1',
]

let running
/** One browser for each file of tests, closed at its end. */
export async function browser() {
  running ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS })
  return running
}
after(async () => { await (await running)?.close() })

/** Asks the host for something, as text. */
export async function control(what, query = {}) {
  const url = new URL(`${A}/control/${what}`)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response.text()
}

/** Runs `work` while the store refuses something, and never longer. */
export async function withFault(on, work) {
  await control('fault', { on })
  try {
    return await work()
  } finally {
    await control('fault', { on: 'none' })
  }
}

/** Who may be signed in, by name. */
export const WHO = {
  acme: { tenant: 'acme' },
  reader: { tenant: 'acme', caps: 'read' },
  empty: { tenant: 'empty' },
  many: { tenant: 'many' },
  globex: { tenant: 'globex' },
  nobody: null,
}

/** An address that lets `who` into the portal at `mount`, once. */
export async function linkInto(mount, who, path = '') {
  const token = await control('token', WHO[who])
  return `${mount}${path}${path.includes('?') ? '&' : '?'}token=${token}`
}

/** A new context, signed in, with one page on the first screen. Closed by `close`. */
export async function enter(who = 'acme', { mount = MOUNTS.webhooks, path, ...options } = {}) {
  const [width, height] = SIZES.desktop
  const context = await (await browser()).newContext({ viewport: { width, height }, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(8000)
  const page = await context.newPage()
  const heard = listen(page)
  if (mount === MOUNTS.own) await context.request.get(`${A}/control/login?tenant=${WHO[who].tenant}`)
  if (WHO[who]) {
    const response = await page.goto(mount === MOUNTS.own ? mount : await linkInto(mount, who, path))
    if (response.status() !== 200) throw new Error(`${who} was not let in: ${response.status()}`)
  }
  return { context, page, heard, mount, to: path => `${mount}${path}`, close: () => context.close() }
}

/** What a page complained about: messages of errors, and dialogs, which nothing of ours opens. */
export function listen(page) {
  const heard = { errors: [], dialogs: [] }
  page.on('console', message => {
    // A page that is an error by its status is told of too; that is no fault of the page.
    if (message.type() !== 'error') return
    const ownStatus = message.text().startsWith('Failed to load resource') && message.location().url === page.url()
    if (!ownStatus) heard.errors.push(message.text())
  })
  page.on('pageerror', error => heard.errors.push(String(error)))
  page.on('dialog', dialog => {
    if (dialog.type() !== 'beforeunload') heard.dialogs.push(dialog.message())
    dialog.accept().catch(() => {})
  })
  return heard
}

/** Nothing may have been found; what was is told in lines. */
export function none(found, what = 'found') {
  if (found.length) throw new Error(`${what}: ${found.length}\n${found.slice(0, 12).join('\n')}`)
}

/** The violations of all rules, or only of `rules`, short enough to read. */
export async function violations(page, rules) {
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(AXE)
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
  return page.evaluate(async ([tags, rules]) => {
    const runOnly = rules ? { type: 'rule', values: rules } : { type: 'tag', values: tags }
    const found = await window.axe.run(document, { runOnly, resultTypes: ['violations'] })
    return found.violations.flatMap(rule => rule.nodes.map(node => {
      const why = node.any.concat(node.all, node.none).map(check => check.message).join('; ')
      return `${rule.id}: ${node.target.join(' ')}: ${why}`.slice(0, 300)
    }))
  }, [tags, rules])
}

/** Goes to a page of PAGES and gives its response. */
export async function open(session, entry) {
  const go = async () => {
    const path = entry.path.replace('NOW', Math.floor(Date.now() / 1000))
    let response = await session.page.goto(session.to(path), { waitUntil: 'load' })
    if (entry.act) response = await entry.act(session.page, session) ?? response
    return response
  }
  return entry.fault ? withFault(entry.fault, go) : go()
}

/** Clicks something that leads to another page, and gives that page's response once it is there. */
export async function follow(page, locator) {
  const [response] = await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), locator.click()])
  return response
}
