// Starts the examples as a reader does: as programs of their own.
import { execFileSync, spawn } from 'node:child_process'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { browser, listen } from './lib.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const target = process.env.CARGO_TARGET_DIR ?? `${root}target`
const running = []
after(() => { for (const one of running) one.kill('SIGKILL') })

/** Starts an example at a free port and gives its origin. It ends with the file of tests. */
export async function start(name, ...flags) {
  const [kind, folder] = name === 'quickstart' ? ['--bin', ''] : ['--example', 'examples/']
  execFileSync('cargo', ['build', '--quiet', '-p', 'outpost-examples', kind, name], { cwd: root, stdio: 'inherit' })
  const one = spawn(`${target}/debug/${folder}${name}`, ['--listen', '127.0.0.1:0', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  running.push(one)
  let out = ''
  return new Promise((found, failed) => {
    // What it says later is read and dropped, so that it can go on saying it.
    one.stdout.on('data', chunk => {
      out = (out + chunk).slice(0, 4000)
      const at = out.match(/^(?:listening at|portal:) (http:\S+)\/$/m)
      if (at) found(at[1])
    })
    one.on('exit', code => failed(new Error(`${name} ended with ${code}: ${out}`)))
  })
}

/** A browser of somebody who was never there. */
export async function visitor() {
  const context = await (await browser()).newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' })
  const page = await context.newPage()
  return { context, page, heard: listen(page), close: () => context.close() }
}

/** Fills in the application's login, on the page of it, and waits until it has led on. */
export async function logIn(page, user = 'ann') {
  const email = { ann: 'ann@acme.test', bob: 'bob@globex.test' }[user]
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(user)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL(url => url.pathname !== '/login')
}

/** The address of a page within the application, less the mark that somebody has just come in. */
export function where(page) {
  const url = new URL(page.url())
  url.searchParams.delete('entered')
  return url.pathname + url.search
}
