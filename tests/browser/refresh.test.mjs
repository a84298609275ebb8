// An ended session of the portal is renewed by the application's login, and nothing else: examples/portal_refresh.rs.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { none } from './lib.mjs'
import { logIn, start, visitor, where } from './examples.mjs'

const DEEP = '/webhooks/destinations/orders/deliveries?status=failed&code=5xx&range=7d'
let origin
before(async () => { origin = await start('portal_refresh') })

/** The footer of the portal says whose it is. */
const whose = page => page.locator('footer').getByText(/^Webhooks of/).innerText()

/** The deep page is there, with everything that was chosen on it. */
async function isDeep(page) {
  assert.equal(where(page), DEEP)
  await page.getByRole('heading', { level: 1, name: 'Orders of acme' }).waitFor()
  assert.equal(await page.locator('#status').inputValue(), 'failed')
  assert.equal(await page.locator('#code').inputValue(), '5xx')
  assert.equal(await page.locator('#range').inputValue(), '7d')
}

async function loggedIn(at = origin, user = 'ann') {
  const session = await visitor()
  await session.page.goto(`${at}/`)
  await logIn(session.page, user)
  return session
}

test('a bookmark leads to its page, with its filters, when the session of the portal is gone', async () => {
  const { context, page, heard, close } = await loggedIn()
  await page.getByRole('link', { name: 'Webhooks' }).click()
  await page.waitForURL(/\/webhooks\//)
  await page.goto(origin + DEEP)
  await isDeep(page)
  const before = await context.cookies(origin + '/webhooks/')
  assert.ok(before.some(cookie => cookie.path.startsWith('/webhooks')), 'there was a session')

  await context.clearCookies({ path: /^\/webhooks/ })
  await page.goto(origin + DEEP)
  await isDeep(page)
  // It is a session, not a page let out by mistake: another page opens without going round.
  const response = await page.goto(`${origin}/webhooks/activity`)
  assert.equal(response.request().redirectedFrom(), null)
  none(heard.errors)
  await close()
})

test('a session that ran out is renewed in the same way', async () => {
  const short = await start('portal_refresh', '--session-idle', '1')
  const { context, page, close } = await loggedIn(short)
  await page.goto(`${short}/webhooks-link`)
  const [first] = (await context.cookies(`${short}/webhooks/`)).filter(cookie => cookie.path.startsWith('/webhooks'))
  assert.ok(first)
  // A second, and the one that times of tokens are rounded up by.
  await new Promise(done => setTimeout(done, 2200))
  const response = await page.goto(short + DEEP)
  const hops = []
  for (let hop = response.request(); hop; hop = hop.redirectedFrom()) hops.unshift(new URL(hop.url()).pathname)
  assert.ok(hops.includes('/webhooks-link'), `it went round by the application: ${hops}`)
  await isDeep(page)
  const [second] = (await context.cookies(`${short}/webhooks/`)).filter(cookie => cookie.name === first.name)
  assert.notEqual(second.value, first.value)
  await close()
})

test('who is not logged in at the application has to log in, and comes back to the same page', async () => {
  const { context, page, close } = await loggedIn()
  await page.goto(origin + DEEP)
  await isDeep(page)
  await context.clearCookies()
  await page.goto(origin + DEEP)
  assert.equal(new URL(page.url()).pathname, '/login')
  await logIn(page)
  await isDeep(page)

  // Logged out at the application alone, the portal's own session goes on until it ends.
  await page.goto(`${origin}/`)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(/\/login/)
  await context.clearCookies({ path: /^\/webhooks/ })
  await page.goto(origin + DEEP)
  assert.equal(new URL(page.url()).pathname, '/login', 'the portal alone lets nobody in')
  await close()
})

test('the tenant comes from the session of the application, whatever the address says', async () => {
  for (const [user, own, other] of [['ann', 'acme', 'globex'], ['bob', 'globex', 'acme']]) {
    const { page, close } = await loggedIn(origin, user)
    for (const query of [`tenant=${other}`, `tenant_id=${other}&return_to=/`, `return_to=${encodeURIComponent(`/?tenant=${other}`)}`]) {
      await page.goto(`${origin}/webhooks-link?${query}`)
      assert.equal(await whose(page), `Webhooks of ${own}`, query)
      await page.getByRole('link', { name: `Orders of ${own}` }).waitFor()
      assert.equal(await page.getByText(`Orders of ${other}`).count(), 0)
    }
    await close()
  }
})

test('a way back that leads out of the portal is passed over', async () => {
  const { page, close } = await loggedIn()
  for (const out of ['//evil.test/', 'https://evil.test/', '/\\evil.test', '/%2f%2fevil.test', '', 'activity']) {
    await page.goto(`${origin}/webhooks-link?return_to=${encodeURIComponent(out)}`)
    assert.equal(new URL(page.url()).origin, origin, out)
    assert.equal(where(page), '/webhooks/', out)
  }
  // Nor does the login lead out.
  await page.goto(`${origin}/`)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(/\/login/)
  await page.goto(`${origin}/login?next=${encodeURIComponent('//evil.test/"><script>alert(1)</script>')}`)
  await logIn(page)
  assert.equal(page.url(), `${origin}/`)
  await close()
})
