//! Sessions: renewed and ended.

use super::*;

#[tokio::test]
async fn an_ended_session_is_over_in_every_process_and_after_a_restart() {
    let (world, outpost) = world().await;
    let second = world.process(settings()).await;
    let (session, bystander) = (sign_in(&outpost).await, sign_in(&outpost).await);
    world.clock.pass(20 * MINUTE);
    let renewed = outpost.tokens().renew(&session).unwrap();
    let kept = outpost.tokens().renew(&bystander).unwrap();
    outpost.tokens().end(&session).await.unwrap();
    for process in [&outpost, &second] {
        assert_refused(process.tokens().session(session.token()).await, "an ended session");
        assert_refused(process.tokens().session(&renewed).await, "another token of an ended session");
        assert!(process.tokens().session(&kept).await.is_ok());
    }
    // Twice is fine, and what is renewed afterwards is as dead.
    second.tokens().end(&session).await.unwrap();
    let late = second.tokens().renew(&session).unwrap();
    drop((outpost, second));
    let restarted = world.process(settings()).await;
    assert_refused(restarted.tokens().session(&renewed).await, "an ended session");
    assert_refused(restarted.tokens().session(&late).await, "an ended session");
    assert!(restarted.tokens().session(&kept).await.is_ok());
}

#[tokio::test]
async fn a_session_in_use_is_renewed_until_its_absolute_end_and_no_further() {
    let (world, outpost) = world().await;
    let tokens = outpost.tokens();
    world.clock.pass(Duration::from_millis(400));
    let mut session = sign_in(&outpost).await;
    let (end, sid) = (session.ends_at(), session.sid().to_owned());
    assert_eq!(tokens.renew(&session), None, "a fresh token");
    world.clock.pass(3 * MINUTE - Duration::from_millis(400));
    assert_eq!(tokens.renew(&session), None, "after a tenth of the idle time");
    let mut renewals = 0;
    loop {
        world.clock.pass(7 * MINUTE);
        if world.clock.now() >= end {
            break;
        }
        if let Some(next) = tokens.renew(&session) {
            renewals += 1;
            session = tokens.session(&next).await.unwrap();
        }
        assert_eq!((session.ends_at(), session.sid()), (end, sid.as_str()));
        assert!(session.expires_at() > world.clock.now() && session.expires_at() <= end);
        // Also as a process with a longer absolute lifetime would read it.
        assert!(claims_of(session.token())["exp"].as_i64().unwrap() <= end.as_seconds() + 1);
    }
    assert!(renewals > 150, "{renewals}");
    assert_eq!(session.expires_at(), end);
    assert_eq!(tokens.renew(&session), None);
    assert_refused(tokens.session(session.token()).await, "a session at its end");
}

#[tokio::test]
async fn the_absolute_end_is_kept_to_the_millisecond() {
    let (world, outpost) = world().await;
    world.clock.pass(Duration::from_millis(1));
    let short = world.process(settings().session_lifetime(5 * MINUTE)).await;
    let session = short.tokens().enter(&entry(&outpost).await).await.unwrap();
    assert_eq!(session.expires_at(), world.clock.now().after(5 * MINUTE));
    world.clock.pass(5 * MINUTE - MILLISECOND);
    assert!(short.tokens().session(session.token()).await.is_ok());
    world.clock.pass(MILLISECOND);
    assert_refused(short.tokens().session(session.token()).await, "a session at its end");
}

#[test]
fn a_theme_has_one_spelling() {
    let parsed = [Theme::parse("dark"), Theme::parse("light"), Theme::parse("Dark")];
    assert_eq!(parsed, [Some(Theme::Dark), Some(Theme::Light), None]);
}
