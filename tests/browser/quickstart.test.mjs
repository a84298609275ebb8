// What a newcomer does first: examples/src/bin/quickstart.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { follow, none } from './lib.mjs'
import { start, visitor, where } from './examples.mjs'

const folder = mkdtempSync(join(tmpdir(), 'quickstart-'))
let origin
before(async () => { origin = await start('quickstart', '--store', join(folder, 'outpost.db'), '--rate', '20') })
after(() => rmSync(folder, { recursive: true, force: true }))

const whose = page => page.locator('footer').getByText(/^Webhooks of/).innerText()

/** The receivers that the portal names above every page. */
async function receivers(page) {
  const notice = await page.getByRole('note').first().innerText()
  return Object.fromEntries([...notice.matchAll(/http:\S+\/(ok|fail|slow)/g)].map(([url, name]) => [name, url]))
}

/** Fills in the form of a new destination and sends it. */
async function add(page, name, url) {
  const main = page.getByRole('main')
  await page.goto(`${origin}/webhooks/`)
  await follow(page, main.getByRole('link', { name: 'Add destination', exact: true }))
  await main.getByLabel(/name/i).first().fill(name)
  await main.getByLabel(/url/i).first().fill(url)
  await main.getByLabel('order.created', { exact: true }).check()
  return follow(page, main.getByRole('button', { name: 'Add destination', exact: true }))
}

test('one address always leads into the portal, for the tenant that was chosen', async () => {
  const { context, page, heard, close } = await visitor()
  await page.goto(`${origin}/`)
  assert.equal(where(page), '/webhooks/')
  assert.equal(await whose(page), 'Webhooks of acme')
  await follow(page, page.getByRole('link', { name: 'Back to Quickstart' }))
  await page.getByRole('link', { name: 'globex' }).click()
  // Somebody who is in for one tenant is asked before it is another one.
  await follow(page, page.getByRole('button', { name: 'Switch to globex' }))
  assert.equal(await whose(page), 'Webhooks of globex')

  await context.clearCookies({ path: /^\/webhooks/ })
  await page.goto(`${origin}/webhooks/activity?status=delivered`)
  assert.equal(where(page), '/webhooks/activity?status=delivered')
  assert.equal(await whose(page), 'Webhooks of globex')
  assert.equal((await page.goto(`${origin}/?tenant=nobody`)).status(), 404)
  none(heard.errors)
  await close()
})

test('a newcomer adds a destination, finds out why it fails, mends it and retries', async () => {
  const { page, close } = await visitor()
  const main = page.getByRole('main')
  await page.goto(`${origin}/`)
  const { ok, fail } = await receivers(page)
  await add(page, 'Mine', fail)
  await page.getByRole('heading', { level: 1, name: 'Mine' }).waitFor()
  const mine = page.url().replace(/\?.*/, '')

  await follow(page, main.locator('.head').getByRole('link', { name: 'Send test event' }))
  await follow(page, main.getByRole('button', { name: 'Send test event', exact: true }))
  await main.getByText('The receiver failed with 500.').waitFor()
  await main.getByText('This receiver always fails.').waitFor()

  // It does nothing but fail, and is disabled for it. So what was tried is waiting for somebody.
  const disabled = main.getByRole('heading', { name: 'This destination is disabled' })
  for (let tries = 0; tries < 60 && !await disabled.isVisible(); tries++) {
    await page.waitForTimeout(500)
    await page.goto(mine)
  }
  await disabled.waitFor()
  await page.goto(`${mine}/deliveries?code=5xx`)
  await follow(page, main.locator('tr a.rowlink').last())
  await main.getByText('The receiver failed with 500.').first().waitFor()
  const delivery = page.url()

  await page.goto(`${mine}/settings`)
  await main.getByLabel('URL').fill(ok)
  await main.getByRole('button', { name: 'Save endpoint' }).click()
  await page.locator('.flash').waitFor()
  await page.goto(mine)
  await main.getByRole('button', { name: 'Enable', exact: true }).click()
  await page.locator('.flash').waitFor()
  await page.goto(delivery)
  await main.getByRole('button', { name: 'Retry now' }).click()
  await page.locator('.flash').waitFor()
  const delivered = main.locator('.title .pill').filter({ hasText: 'Delivered' })
  for (let tries = 0; tries < 60 && !await delivered.isVisible(); tries++) {
    await page.waitForTimeout(500)
    await page.reload()
  }
  await delivered.waitFor()
  await close()
})

test('destinations lead to the receivers and nowhere else', async () => {
  const { page, close } = await visitor()
  await page.goto(`${origin}/`)
  const { ok, slow } = await receivers(page)
  const port = Number(new URL(ok).port)
  for (const url of [`${origin}/`, `http://127.0.0.1:${port === 1 ? 2 : port - 1}/ok`, `http://127.0.0.2:${port}/ok`, 'https://1.1.1.1/']) {
    assert.equal((await add(page, 'Nowhere', url)).status(), 422, url)
  }
  await add(page, 'Slow', slow)
  await follow(page, page.getByRole('main').locator('.head').getByRole('link', { name: 'Send test event' }))
  await follow(page, page.getByRole('main').getByRole('button', { name: 'Send test event', exact: true }))
  await page.getByRole('main').getByText(/no answer|too late|time/i).first().waitFor()
  await close()
})

test('the secrets beside the database are for their owner alone', () => {
  for (const file of ['outpost.key', 'outpost.tokens.key']) {
    assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600, file)
  }
})
