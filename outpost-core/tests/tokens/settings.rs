//! Settings that are wrong or missing, keys made of the secret, and what is shown of secrets.

use super::*;

#[tokio::test]
async fn bad_settings_are_told_together_and_name_their_fields() {
    let world = World::new();
    let bad = TokenSettings::new("ftp://user:canary@x.test", "short-canary")
        .also_accept(SECRET)
        .also_accept([7; 31])
        .entry_lifetime(Duration::from_millis(999))
        .session_idle(8 * 24 * HOUR)
        .session_lifetime(31 * 24 * HOUR)
        .api_lifetime(Duration::ZERO);
    let error = world.builder().tokens(bad).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
    let expected = "portal_url secret secret entry_lifetime session_idle session_lifetime api_lifetime";
    assert_eq!(fields, expected.split(' ').map(|field| format!("tokens.{field}")).collect::<Vec<_>>());
    assert!(!format!("{error} {error:?}").contains("canary"));

    for url in ["", "/portal", "x.test/portal", "https://u@x.test", "https://x.test/?", "https://x.test/#", "file:///x"]
    {
        let error = world.builder().tokens(TokenSettings::new(url, SECRET)).start().await.unwrap_err();
        assert_eq!(error.problems()[0].field, "tokens.portal_url", "{url:?}");
    }
    let many = (1..9).fold(settings(), |settings, number| settings.also_accept([number; 32]));
    let error = world.builder().tokens(many).start().await.unwrap_err();
    assert_eq!(error.problems()[0].field, "tokens.secret");
    let bounds = (1..8).fold(settings(), |settings, number| settings.also_accept([number; 32]));
    let bounds = bounds.entry_lifetime(HOUR).session_idle(Duration::from_secs(1)).api_lifetime(366 * 24 * HOUR);
    assert!(world.builder().tokens(bounds).start().await.is_ok());
}

#[tokio::test]
async fn without_settings_there_are_no_tokens() {
    let (world, outpost) = world().await;
    let (key, session) = (api(&outpost).await, sign_in(&outpost).await);
    let bare = world.builder().start().await.unwrap();
    let tokens = bare.tokens();
    assert!(outpost.tokens().is_configured() && !tokens.is_configured());
    assert_eq!((tokens.portal_url(), tokens.derived_key("csrf")), (None, None));
    let refusals = [bare.portal_link("acme", PortalLink::default()).await, tokens.api("acme", Capabilities::ALL).await];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert_eq!((error.kind(), error.problems()[0].field.as_str()), (ErrorKind::Invalid, "tokens"));
        assert!(error.to_string().contains("OutpostBuilder::tokens"));
    }
    assert_opens_nothing(&bare, &key, "a token where there are none").await;
    assert_eq!(tokens.renew(&session), None);
}

#[tokio::test]
async fn derived_keys_hang_on_the_label_and_the_secret_that_signs_and_on_nothing_else() {
    let (world, outpost) = world().await;
    let key = outpost.tokens().derived_key("csrf").unwrap();
    let more = world.process(settings().also_accept(OTHER)).await;
    assert_eq!(more.tokens().derived_key("csrf"), Some(key));
    assert_ne!(outpost.tokens().derived_key("flash"), Some(key));
    let other = world.process(TokenSettings::new(PORTAL, OTHER).also_accept(SECRET)).await;
    assert_ne!(other.tokens().derived_key("csrf"), Some(key));
    // It is not the key that signs.
    let forged = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims_of(&api(&outpost).await),
        &EncodingKey::from_secret(&key),
    );
    assert_opens_nothing(&outpost, &forged.unwrap(), "signed with a derived key").await;
}

#[tokio::test]
async fn neither_secret_nor_token_is_shown() {
    let (_world, outpost) = world().await;
    let session = sign_in(&outpost).await;
    let link = entry(&outpost).await;
    outpost.tokens().enter(&link).await.unwrap();
    let error = outpost.tokens().enter(&link).await.unwrap_err();
    let settings = settings().also_accept(OTHER);
    let shown = format!(
        "{settings:?} {session:?} {session:#?} {outpost:?} {error} {error:?} {:?}",
        outpost.tokens().peek(&link).await.unwrap()
    );
    for secret in [SECRET, OTHER, session.token(), &link, session.token().rsplit('.').next().unwrap()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains(link.rsplit('.').next().unwrap()), "{shown}");
    assert!(shown.contains(session.sid()));
}
