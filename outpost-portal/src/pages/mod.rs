//! The pages, one file for each part of the map.

mod activity;
mod create;
mod deliveries;
mod delivery;
mod destinations;
pub(crate) mod entry;
pub(crate) mod errors;
mod event;
mod export;
mod fields;
mod find;
mod help;
mod lifecycle;
mod log;
mod overview;
mod preferences;
mod replay;
mod secret;
mod settings;
mod snippets;
mod test;
mod topics;

use crate::cx::{Answer, Cx};
use crate::route::Route;

/// The answers that need nobody to be signed in.
pub(crate) async fn outside(cx: &Cx<'_>, route: Route<'_>, parts: &http::request::Parts) -> Option<Answer> {
    match route {
        // The host's own session goes on, whatever is said here.
        Route::SignedOut if cx.site.authenticator.is_some() => Some(Err(crate::cx::Fault::NotFound)),
        Route::Asset(name) => Some(cx.site.asset(cx.request, name)),
        Route::SignedOut => Some(Ok(entry::signed_out(cx))),
        Route::Expired => Some(Ok(errors::page(cx, &crate::cx::Fault::NoSession))),
        Route::Enter => Some(entry::enter(cx, parts).await),
        _ => None,
    }
}

/// The pages of somebody who is signed in. A POST comes here with its form's token checked.
pub(crate) async fn inside(cx: &Cx<'_>, route: Route<'_>) -> Answer {
    let post = cx.request.is_post();
    match route {
        Route::Home => destinations::list(cx).await,
        Route::New => create::types(cx).await,
        Route::NewType(kind) if post => create::create(cx, kind).await,
        Route::NewType(kind) => create::form(cx, kind).await,
        Route::Overview(id) => overview::page(cx, id).await,
        Route::Deliveries(id) => deliveries::page(cx, id).await,
        Route::RetryDeliveries(id) => deliveries::retry(cx, Some(id)).await,
        Route::RetryActivity => deliveries::retry(cx, None).await,
        Route::Delivery(id, event) => delivery::page(cx, id, event).await,
        Route::Retry(id, event) => delivery::retry(cx, id, event).await,
        Route::Cancel(id, event) => delivery::cancel(cx, id, event).await,
        Route::Payload(id, event) => delivery::payload(cx, id, event).await,
        Route::Response(id, event, n) => delivery::response(cx, id, event, n).await,
        Route::Curl(id, event, n) => delivery::curl(cx, id, event, n).await,
        Route::Replay(id) if post => replay::start(cx, id).await,
        Route::Replay(id) => replay::form(cx, id).await,
        Route::ReplayJob(job) => replay::progress(cx, job).await,
        Route::CancelReplay(job) => replay::cancel(cx, job).await,
        Route::Test(id) if post => test::send(cx, id).await,
        Route::Test(id) => test::page(cx, id).await,
        Route::Settings(id) if post => settings::save(cx, id).await,
        Route::Settings(id) => settings::page(cx, id).await,
        Route::Secret(id) => secret::page(cx, id).await,
        Route::Reveal(id) => secret::reveal(cx, id).await,
        Route::Rotate(id) => secret::rotate(cx, id).await,
        Route::ExpirePrevious(id) => secret::expire_previous(cx, id).await,
        Route::CheckSignature(id) => secret::check(cx, id).await,
        Route::Disable(id) if post => lifecycle::disable(cx, id).await,
        Route::Disable(id) => lifecycle::confirm_disable(cx, id).await,
        Route::Enable(id) if post => lifecycle::enable(cx, id).await,
        Route::Enable(id) => lifecycle::confirm_enable(cx, id).await,
        Route::Delete(id) if post => lifecycle::delete(cx, id).await,
        Route::Delete(id) => lifecycle::confirm_delete(cx, id).await,
        Route::Export(id, format) => export::stream(cx, Some(id), format).await,
        Route::Activity => activity::page(cx).await,
        Route::ExportActivity(format) => export::stream(cx, None, format).await,
        Route::Event(id) => event::page(cx, id).await,
        Route::Find => find::find(cx).await,
        Route::Help(topic) => help::page(cx, topic).await,
        Route::Preferences if post => preferences::save(cx).await,
        Route::Preferences => preferences::page(cx).await,
        Route::Logout => entry::log_out(cx).await,
        // Answered before anybody was asked for a session.
        Route::Enter | Route::SignedOut | Route::Expired | Route::Asset(_) => Err(crate::cx::Fault::NotFound),
    }
}
