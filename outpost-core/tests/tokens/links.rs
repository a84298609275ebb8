//! Portal links: what they look like, and that each is used once.

use super::*;

#[tokio::test]
async fn a_link_opens_a_session_which_acts_for_its_tenant_with_its_capabilities() {
    let (world, outpost) = world().await;
    let few = Capabilities::NONE.with(Capability::Read).with(Capability::Retry);
    let link = PortalLink::default().theme(Theme::Dark).return_to("/destinations?a=b c").capabilities(few);
    let link = outpost.portal_link("acme", link).await.unwrap();
    let token = token_of(&link);
    assert_eq!(link, format!("{PORTAL}?token={token}&theme=dark&return_to=%2Fdestinations%3Fa%3Db+c"));

    let peeked = outpost.tokens().peek(&token).await.unwrap();
    assert_eq!((peeked.tenant_id.as_str(), peeked.used), ("acme", false));
    let session = outpost.tokens().enter(&token).await.unwrap();
    let incarnation = outpost.tenants().get("acme").await.unwrap().incarnation;
    let tenant = session.tenant_id().clone();
    assert_eq!(session.actor(), &Actor::Tenant { tenant, incarnation, capabilities: few });
    assert_eq!((session.tenant_id().as_str(), session.sid().len()), ("acme", 32));
    let now = world.clock.now();
    assert_eq!(session.signed_in_at(), now);
    assert_eq!(session.expires_at(), now.after(30 * MINUTE));
    assert_eq!(session.ends_at(), now.after(24 * HOUR));

    let again = outpost.tokens().session(session.token()).await.unwrap();
    assert_eq!((again.actor(), again.sid(), again.token()), (session.actor(), session.sid(), session.token()));
    let user = outpost.acting_as(again.actor().clone());
    assert!(user.tenants().get("acme").await.is_ok());
    assert_eq!(user.tenants().get("other").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(user.destinations().enable("acme", "x").await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert_ne!(sign_in(&outpost).await.sid(), session.sid());
}

#[tokio::test]
async fn a_link_is_used_once_in_all_processes_and_after_a_restart() {
    let (world, outpost) = world().await;
    let second = world.process(settings()).await;
    let link = entry(&outpost).await;
    assert!(second.tokens().enter(&link).await.is_ok());
    assert_refused(outpost.tokens().enter(&link).await, "a used link");
    assert!(outpost.tokens().peek(&link).await.unwrap().used);
    drop((outpost, second));
    let restarted = world.process(settings()).await;
    assert_refused(restarted.tokens().enter(&link).await, "a used link");
    // Used by one says nothing of the next.
    assert!(!restarted.tokens().peek(&entry(&restarted).await).await.unwrap().used);
}

#[tokio::test]
async fn of_twenty_who_use_a_link_at_once_exactly_one_gets_in() {
    let (world, outpost) = world().await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let store = FaultStore::new(world.store.another_process());
        processes.push((store.faults(), world.over(store).tokens(settings()).start().await.unwrap()));
    }
    let link = entry(&outpost).await;
    let mut tries = Vec::new();
    for (faults, process) in &processes {
        faults.inject(Operation::Apply, Fault::Hang, Times::UntilCleared);
        for _ in 0..10 {
            let (process, link) = (process.clone(), link.clone());
            tries.push(tokio::spawn(async move { process.tokens().enter(&link).await }));
        }
        // Until all of them have seen that it is unused.
        while faults.hanging(Operation::Apply) < 10 {
            tokio::task::yield_now().await;
        }
    }
    for (faults, _) in &processes {
        faults.clear(Operation::Apply);
        faults.release(Operation::Apply);
    }
    let mut entered = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(_) => entered += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unauthenticated),
        }
    }
    assert_eq!(entered, 1);
}

#[tokio::test]
async fn a_link_may_be_used_often_where_that_is_allowed() {
    let (world, outpost) = world().await;
    let often = world.process(settings().entry_single_use(false)).await;
    let link = entry(&outpost).await;
    let (one, two) = (often.tokens().enter(&link).await.unwrap(), often.tokens().enter(&link).await.unwrap());
    assert_ne!(one.sid(), two.sid());
    assert!(!often.tokens().peek(&link).await.unwrap().used);
}

#[tokio::test]
async fn only_the_operator_hands_out_tokens_and_only_for_tenants_that_live() {
    let (_world, outpost) = world().await;
    let user = outpost.acting_as(sign_in(&outpost).await.actor().clone());
    let kind = |result: Result<String, Error>| result.unwrap_err().kind();
    for tenant in ["acme", "other"] {
        assert_eq!(kind(user.portal_link(tenant, PortalLink::default()).await), ErrorKind::Forbidden);
        assert_eq!(kind(user.tokens().api(tenant, Capabilities::ALL).await), ErrorKind::Forbidden);
    }
    for (tenant, expected) in
        [("nobody", ErrorKind::NotFound), ("not an id", ErrorKind::Invalid), (OPERATOR_TENANT, ErrorKind::Invalid)]
    {
        assert_eq!(kind(outpost.portal_link(tenant, PortalLink::default()).await), expected);
        assert_eq!(kind(outpost.tokens().api(tenant, Capabilities::ALL).await), expected);
    }
}

#[tokio::test]
async fn a_link_leads_to_pages_of_the_portal_only() {
    let (_world, outpost) = world().await;
    let long = format!("/{}", "x".repeat(2048));
    for bad in [
        "",
        "x",
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "/a//b",
        "/\t/evil.test",
        "/a\nb",
        "/\u{85}",
        &long,
    ] {
        let error = outpost.portal_link("acme", PortalLink::default().return_to(bad)).await.unwrap_err();
        assert_eq!((error.kind(), error.problems()[0].field.as_str()), (ErrorKind::Invalid, "return_to"), "{bad:?}");
    }
    for good in ["/", "/destinations/new?type=webhook#top", &long[..2048]] {
        let link = outpost.portal_link("acme", PortalLink::default().return_to(good)).await.unwrap();
        let url = url::Url::parse(&link).unwrap();
        assert_eq!(url.query_pairs().find(|(key, _)| key == "return_to").unwrap().1, good);
        assert_eq!(url.path(), "/portal");
    }
}

#[tokio::test]
async fn the_portal_is_where_the_settings_say() {
    let world = World::new();
    for (given, link) in [
        ("https://x.test", "https://x.test/?token="),
        ("http://localhost:3000/portal/", "http://localhost:3000/portal/?token="),
        ("https://x.test/a/portal", "https://x.test/a/portal?token="),
    ] {
        let outpost = world.process(TokenSettings::new(given, SECRET)).await;
        outpost.tenants().put("acme", None).await.unwrap();
        let made = outpost.portal_link("acme", PortalLink::default()).await.unwrap();
        assert!(made.starts_with(link), "{made}");
        assert!(link.starts_with(outpost.tokens().portal_url().unwrap()));
    }
}
