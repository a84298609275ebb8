// Every page, in both themes and on screens of three sizes: what axe finds, what a page must have and must not have.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, test } from 'node:test'
import { enter, none, open, SIZES, THEMES, violations } from './lib.mjs'
import { PAGES } from './pages.mjs'

const SHOTS = new URL('../screenshots/', import.meta.url).pathname
mkdirSync(SHOTS, { recursive: true })

const sessions = new Map()
const titles = new Map()
const session = who => sessions.get(who) ?? sessions.set(who, enter(who)).get(who)
after(async () => { for (const one of sessions.values()) await (await one).close().catch(() => {}) })

for (const entry of PAGES) {
  test(`page ${entry.name}`, async t => {
    const on = await session(entry.who)
    const { page, heard } = on
    heard.errors.length = heard.dialogs.length = 0
    await page.setViewportSize({ width: 1280, height: 800 })
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })
    const response = await open(on, entry)
    assert.ok([entry.status].flat().includes(response.status()), `status ${response.status()}`)

    await t.test('has what every page has', () => structure(page, entry, response.status()))
    await t.test('has nothing inline, and breaks no rule of its policy', async () => {
      const inline = await page.$$eval('[style], script:not([src]), style', found => found.map(one => one.outerHTML.slice(0, 100)))
      const handlers = await page.$$eval('*', all => all.flatMap(one =>
        [...one.attributes].filter(a => a.name.startsWith('on')).map(a => `${one.tagName} ${a.name}`)))
      none([...inline, ...handlers, ...heard.errors, ...heard.dialogs])
    })
    await t.test('has no text under 12 px', async () => none(await smallText(page)))
    for (const [size, [width, height]] of Object.entries(SIZES)) {
      await page.setViewportSize({ width, height })
      // The width changes nothing about colours: the third size is looked at in one theme.
      for (const theme of size === 'narrow' ? ['light'] : THEMES) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
        if (size !== 'narrow') await page.screenshot({ path: `${SHOTS}${entry.name}-${theme}-${size}.png`, fullPage: true })
        await t.test(`breaks no rule of axe: ${theme}, ${size}`, async () =>
          none(await violations(page)))
      }
      await t.test(`does not scroll sideways: ${size}`, async () => none(await tooWide(page)))
      await t.test(`has targets large enough: ${size}`, async () => none(await smallTargets(page)))
    }
    await page.setViewportSize({ width: 1280, height: 800 })
    await t.test('does not scroll sideways with text of twice the size', async () => {
      await page.evaluate(() => { document.documentElement.style.fontSize = '200%' })
      none(await tooWide(page))
    })
  })
}

async function structure(page, entry, status) {
  const found = await page.evaluate(() => {
    const ids = [...document.querySelectorAll('[id]')].map(one => one.id)
    return {
      h1: document.querySelectorAll('h1').length,
      main: document.querySelectorAll('main').length,
      lang: document.documentElement.lang,
      title: document.title,
      twice: ids.filter((id, index) => ids.indexOf(id) !== index),
      // What refers to an element by id must find it.
      lost: [...document.querySelectorAll('[for], [aria-describedby], [aria-labelledby], [aria-controls]')].flatMap(one =>
        ['for', 'aria-describedby', 'aria-labelledby', 'aria-controls'].flatMap(name =>
          (one.getAttribute(name) ?? '').split(/\s+/).filter(id => id && !document.getElementById(id)))),
    }
  })
  assert.equal(found.h1, 1, 'one h1')
  assert.equal(found.main, 1, 'one main')
  assert.equal(found.lang, 'en')
  none(found.twice, 'ids there twice')
  none(found.lost, 'ids that nothing has')
  assert.match(found.title, /\S – Acme Cloud webhooks$/)
  assert.equal(found.title.startsWith('Error: '), status === 422, found.title)
  if (!entry.shares && entry.status !== 422) {
    assert.equal(titles.get(found.title), undefined, `the title is also that of ${titles.get(found.title)}`)
    titles.set(found.title, entry.name)
  }
  // A page may put the focus on what needs attention; the first stop from the top is the link all the same.
  await page.evaluate(() => { document.activeElement?.blur?.(); document.getSelection().removeAllRanges() })
  const first = await page.evaluate(() => {
    const stops = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]'
    return document.querySelector(stops)?.className
  })
  assert.equal(first, 'skip', 'the skip link is the first stop')
  await page.locator('a.skip').focus()
  assert.ok(await page.locator('a.skip').evaluate(link => link.getBoundingClientRect().top >= 0), 'it shows')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'it leads to the content')
}

/** Texts that are drawn smaller than 12 px. */
const smallText = page => page.evaluate(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const small = []
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const size = parseFloat(getComputedStyle(node.parentElement).fontSize)
    if (node.data.trim() && size < 11.99) small.push(`${size}: ${node.data.trim().slice(0, 40)}`)
  }
  return small
})

/** What makes a page wider than the window. */
const tooWide = page => page.evaluate(() => {
  const wide = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= wide) return []
  const inScroller = one => {
    for (let up = one.parentElement; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== 'visible') return true
    }
    return false
  }
  return [...document.body.querySelectorAll('*')]
    .filter(one => one.getBoundingClientRect().right > wide + 1 && !inScroller(one))
    .map(one => `${one.tagName.toLowerCase()}.${one.className} to ${Math.round(one.getBoundingClientRect().right)}`)
    .concat(`page of ${document.documentElement.scrollWidth} in ${wide}`)
})

/** Targets under 24 px either way. What stands in text or in a table is left to axe, which looks at what is around. */
const smallTargets = page => page.evaluate(() => {
  const inText = one => one.matches('td a, p a') || one.matches('a') && getComputedStyle(one).display === 'inline'
    && one.parentElement.textContent.trim().length > one.textContent.trim().length
  return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
    .filter(one => one.checkVisibility() && !inText(one) && !one.closest('.vh, .skip, td.pick, th'))
    .filter(one => {
      // A label around a box belongs to the target, and so does what a stretched link covers.
      const box = (one.closest('label') ?? one).getBoundingClientRect()
      const over = getComputedStyle(one, '::after')
      const stretched = over.position === 'absolute' && over.content !== 'none'
      return box.width > 0 && !stretched && (box.width < 23.5 || box.height < 23.5)
    })
    .map(one => {
      const box = one.getBoundingClientRect()
      return `${one.tagName.toLowerCase()}.${one.className} ${one.textContent.trim().slice(0, 30)} ${box.width}x${box.height}`
    })
})
