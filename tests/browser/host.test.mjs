// The portal in an axum application, behind its own login: examples/axum_host.rs.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { none } from './lib.mjs'
import { logIn, start, visitor, where } from './examples.mjs'

const MOUNT = '/settings/webhooks/'
let origin
before(async () => { origin = await start('axum_host') })

/** Logs in at the application and goes to the portal by its link. */
async function inside(user) {
  const session = await visitor()
  await session.page.goto(`${origin}/`)
  await logIn(session.page, user)
  await session.page.getByRole('link', { name: 'Webhooks' }).click()
  await session.page.getByRole('heading', { level: 1, name: 'Destinations' }).waitFor()
  return session
}

/** Adds a destination and gives its id. Nothing is sent to it. */
async function add(page, name) {
  const main = page.getByRole('main')
  await page.goto(`${origin}${MOUNT}destinations/new`)
  await main.getByLabel(/name/i).first().fill(name)
  await main.getByLabel(/url/i).first().fill('https://1.1.1.1/hook')
  await main.getByLabel('order.created', { exact: true }).check()
  await main.getByRole('button', { name: 'Add destination', exact: true }).click()
  await page.getByRole('heading', { level: 1, name }).waitFor()
  return new URL(page.url()).pathname.split('/').pop()
}

test('who is logged in at the application uses the portal without another login', async () => {
  const { context, page, heard, close } = await inside('ann')
  await add(page, 'Warehouse')
  await page.goto(`${origin}${MOUNT}`)
  await page.getByRole('link', { name: 'Warehouse' }).waitFor()
  await page.getByRole('link', { name: /^Back to/ }).click()
  await page.waitForURL(`${origin}/`)
  const names = (await context.cookies()).map(cookie => cookie.name).filter(name => /session|token/.test(name))
  assert.deepEqual(names, ['host_session'], 'there is no second session')
  none(heard.errors)
  await close()
})

test('logging out of the application ends the portal too, and a login leads back to the page', async () => {
  const { page, close } = await inside('ann')
  const deep = `${MOUNT}activity?status=failed&range=7d`
  const second = await page.context().newPage()
  await second.goto(origin + deep)
  assert.equal(where(second), deep)

  await page.goto(`${origin}/`)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(/\/login/)
  await second.reload()
  assert.equal(new URL(second.url()).pathname, '/login')
  await logIn(second)
  assert.equal(where(second), deep)
  assert.equal(await second.locator('#status').inputValue(), 'failed')
  await close()
})

test('a form that was open while its user logged out changes nothing', async () => {
  const { page, close } = await inside('ann')
  const main = page.getByRole('main')
  await page.goto(`${origin}${MOUNT}destinations/new`)
  await main.getByLabel(/name/i).first().fill('Too late')
  await main.getByLabel(/url/i).first().fill('https://1.1.1.1/late')
  await main.getByLabel('order.created', { exact: true }).check()
  await page.request.post(`${origin}/logout`)
  await main.getByRole('button', { name: 'Add destination', exact: true }).click()
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor()
  await page.goto(`${origin}/login`)
  await logIn(page)
  await page.goto(`${origin}${MOUNT}`)
  await page.getByRole('heading', { level: 1, name: 'Destinations' }).waitFor()
  assert.equal(await page.getByText('Too late').count(), 0)
  await close()
})

test('each user sees the webhooks of their own customer only', async () => {
  const ann = await inside('ann')
  const id = await add(ann.page, 'Of acme only')
  const bob = await inside('bob')
  assert.equal(await bob.page.locator('footer').getByText(/^Webhooks of/).innerText(), 'Webhooks of globex')
  assert.equal(await bob.page.getByText('Of acme only').count(), 0)
  for (const page of [`destinations/${id}`, `destinations/${id}/settings`, `destinations/${id}/secret`]) {
    assert.equal((await ann.page.goto(`${origin}${MOUNT}${page}`)).status(), 200, page)
    assert.equal((await bob.page.goto(`${origin}${MOUNT}${page}`)).status(), 404, page)
  }
  await bob.page.goto(`${origin}${MOUNT}?tenant=acme`)
  assert.equal(await bob.page.locator('footer').getByText(/^Webhooks of/).innerText(), 'Webhooks of globex')
  await Promise.all([ann.close(), bob.close()])
})
