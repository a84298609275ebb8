// Every page there is, in each of its states. A new route gets its lines here, and all tests of pages see it.
//
// name    what it is called in tests and screenshots
// path    below the mount
// who     who looks at it; acme, who may do everything, unless told otherwise
// status  200 unless told otherwise
// fault   what the store refuses meanwhile
// act     what to do on the page at `path` to get to the page that is meant; may return its response
// shares  its title is that of other pages too
import { follow } from './lib.mjs'

const submit = name => page => follow(page, page.getByRole('main').getByRole('button', { name }))
const previewAll = async page => {
  await page.locator('input[name=what][value=all]').check()
  return submit('Preview')(page)
}
const at = (name, path, more = {}) => ({ name, path, who: 'acme', status: 200, ...more })

const destinations = [
  at('destinations', ''),
  at('destinations-second-page', '?start=25', { shares: true }),
  at('destinations-filtered', '?q=shop&status=active&topic=heartbeat&sort=name', { shares: true }),
  at('destinations-no-match', '?q=nothing-is-called-this', { shares: true }),
  at('destinations-none', '', { who: 'empty', shares: true }),
  at('destinations-many', '?q=1', { who: 'many', shares: true }),
  at('destinations-read-only', '', { who: 'reader', shares: true }),
  at('destinations-without-numbers', '', { fault: 'rollups', shares: true }),
  at('destinations-entered', '?entered=NOW', { shares: true }),
]

const creating = [
  at('new', 'destinations/new/webhook'),
  at('new-wrong', 'destinations/new/webhook', { status: 422, act: submit(/add|create/i) }),
  at('new-read-only', 'destinations/new/webhook', { who: 'reader', status: 403 }),
]

const destination = [
  at('overview', 'destinations/orders'),
  at('overview-failing', 'destinations/billing'),
  at('overview-disabled', 'destinations/staging'),
  at('overview-hostile', 'destinations/hostile'),
  at('overview-without-deliveries', 'destinations/shop-00'),
  at('overview-hour', 'destinations/orders?range=1h', { shares: true }),
  at('overview-month', 'destinations/orders?range=30d', { shares: true }),
  at('overview-without-numbers', 'destinations/orders', { fault: 'rollups', shares: true }),
  at('overview-read-only', 'destinations/orders', { who: 'reader', shares: true }),
  at('settings', 'destinations/orders/settings'),
  at('settings-hostile', 'destinations/hostile/settings'),
  at('settings-read-only', 'destinations/orders/settings', { who: 'reader', shares: true, status: [200, 403] }),
  at('settings-wrong', 'destinations/orders/settings', {
    status: 422,
    act: async page => {
      await page.getByLabel('URL', { exact: true }).fill('no url')
      return submit('Save endpoint')(page)
    },
  }),
  at('secret', 'destinations/orders/secret'),
  at('secret-revealed', 'destinations/orders/secret', { act: submit(/reveal|show/i), shares: true }),
  at('secret-checked', 'destinations/orders/secret', { act: submit('Check signature'), shares: true, status: [200, 422] }),
  at('secret-read-only', 'destinations/orders/secret', { who: 'reader', shares: true, status: [200, 403] }),
  at('disable', 'destinations/orders/disable'),
  at('enable', 'destinations/staging/enable'),
  at('delete', 'destinations/orders/delete'),
  at('test', 'destinations/orders/test'),
  at('test-sent', 'destinations/orders/test', { act: submit(/send/i), shares: true }),
  at('test-failed', 'destinations/billing/test', { act: submit(/send/i), shares: true }),
]

const deliveries = [
  at('deliveries', 'destinations/orders/deliveries'),
  at('deliveries-failing', 'destinations/billing/deliveries'),
  at('deliveries-filtered', 'destinations/orders/deliveries?status=delivered&topic=order.created', { shares: true }),
  at('deliveries-no-match', 'destinations/orders/deliveries?id=evt-nothing', { shares: true }),
  at('deliveries-none', 'destinations/shop-00/deliveries'),
  at('deliveries-live', 'destinations/orders/deliveries?live=1', { shares: true }),
  at('deliveries-read-only', 'destinations/orders/deliveries', { who: 'reader', shares: true }),
  at('delivery', 'destinations/orders/deliveries/evt-1'),
  at('delivery-failed', 'destinations/billing/deliveries/evt-failed'),
  at('delivery-first-attempt', 'destinations/billing/deliveries/evt-failed?attempt=1', { shares: true }),
  at('delivery-large-response', 'destinations/large/deliveries/evt-large'),
  at('delivery-no-response', 'destinations/slow/deliveries/evt-slow'),
  at('delivery-hostile-payload', 'destinations/orders/deliveries/evt-hostile'),
  at('delivery-hostile-response', 'destinations/rude/deliveries/evt-rude'),
  at('delivery-read-only', 'destinations/billing/deliveries/evt-failed', { who: 'reader', shares: true }),
  at('replay', 'destinations/billing/replay'),
  at('replay-nothing', 'destinations/billing/replay', { act: submit('Preview'), shares: true }),
  at('replay-preview', 'destinations/ledger/replay', { act: previewAll }),
  at('replay-progress', 'destinations/ledger/replay', {
    act: async page => {
      await previewAll(page)
      return submit(/^Replay \d/)(page)
    },
  }),
]

const account = [
  at('activity', 'activity'),
  at('activity-filtered', 'activity?status=failed', { shares: true }),
  at('activity-no-match', 'activity?id=evt-nothing', { shares: true }),
  at('activity-none', 'activity', { who: 'empty', shares: true }),
  at('event', 'events/evt-hostile'),
  at('event-of-two', 'events/evt-4'),
  at('find-nothing', 'find?q=nothing-has-this-id', { shares: true, status: [200, 404] }),
  at('help-verify', 'help/verify'),
  at('help-filters', 'help/filters'),
  at('help-retries', 'help/retries'),
  at('preferences', 'preferences'),
]

const outside = [
  at('signed-out', 'signed-out', { who: 'nobody' }),
  at('expired', 'expired', { who: 'nobody', status: 401 }),
  at('used-link', '?token=used', { who: 'nobody', status: 401 }),
  at('cookies-blocked', '?entered=NOW', { who: 'nobody', status: 401 }),
]

const errors = [
  at('error-not-found', 'nothing/here', { status: 404 }),
  at('error-method', 'logout', { status: 405 }),
  at('error-store-list', '', { fault: 'fetch', status: 503 }),
  at('error-store-deliveries', 'destinations/orders/deliveries', { fault: 'scan', status: 503, shares: true }),
  at('error-form-too-old', 'preferences', {
    status: 403,
    act: async page => {
      await page.locator('main form input[name=form_token]').first().evaluate(field => { field.value = 'x' })
      return follow(page, page.locator('main form button[type=submit]').first())
    },
  }),
]

export const PAGES = [
  ...destinations, ...creating, ...destination, ...deliveries, ...account, ...outside, ...errors,
]

/** Paths that only answer POST. */
export const POST_PATHS = [
  'logout', 'destinations/orders/retry', 'destinations/orders/deliveries/evt-1/retry',
  'destinations/orders/deliveries/evt-1/cancel', 'replays/x/cancel', 'destinations/orders/secret/reveal',
  'destinations/orders/secret/rotate', 'destinations/orders/secret/expire-previous', 'destinations/orders/secret/check',
  'activity/retry',
]

/** Paths that answer POST and, with a form or a question, GET. */
export const BOTH_PATHS = [
  'destinations/new/webhook', 'destinations/orders/replay', 'destinations/orders/test', 'destinations/orders/settings',
  'destinations/orders/disable', 'destinations/staging/enable', 'destinations/orders/delete', 'preferences',
]

/** The addresses of a destination, an event and whatever hangs on them. */
export const pathsOf = (destination, event) => [
  ...['', '/deliveries', '/deliveries.csv', '/deliveries.ndjson', '/replay', '/test', '/settings', '/secret', '/disable',
    '/enable', '/delete', `/deliveries/${event}`, `/deliveries/${event}/payload`,
    `/deliveries/${event}/attempts/1/response`, `/deliveries/${event}/attempts/1/curl`,
  ].map(rest => `destinations/${destination}${rest}`),
  `events/${event}`,
]
