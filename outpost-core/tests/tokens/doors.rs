//! What each kind of token opens, for how long, and what opens nothing.

use super::*;

#[tokio::test]
async fn an_api_token_is_a_jwt_as_others_read_it() {
    let (world, outpost) = world().await;
    let few = Capabilities::ALL.without(Capability::Secrets);
    let token = outpost.tokens().api("acme", few).await.unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::HS256, Some("JWT")));
    let claims = claims_of(&token);
    assert_eq!(claims["iss"], "outpost");
    assert_eq!(claims["sub"], "acme");
    assert_eq!(claims["typ"], "api");
    assert_eq!(claims["iat"], world.clock.seconds());
    assert_eq!(claims["exp"], world.clock.seconds() + 24 * 3600);
    assert_eq!(claims["cap"], json!(["read", "write", "retry"]));
    let Actor::Tenant { tenant, capabilities, .. } = outpost.tokens().authenticate(&token).await.unwrap() else {
        panic!("a tenant's token made an operator");
    };
    assert_eq!((tenant.as_str(), capabilities), ("acme", few));
    assert_ne!(outpost.tokens().api("acme", few).await.unwrap(), token);
}

#[tokio::test]
async fn every_token_ends_at_its_millisecond_by_our_clock() {
    let (world, outpost) = world().await;
    let tokens = outpost.tokens();
    let link = entry(&outpost).await;
    world.clock.pass(10 * MINUTE - MILLISECOND);
    assert!(tokens.peek(&link).await.is_ok());
    world.clock.pass(MILLISECOND);
    assert_refused(tokens.peek(&link).await, "an old link");
    assert_refused(tokens.enter(&link).await, "an old link");

    let session = sign_in(&outpost).await;
    world.clock.pass(30 * MINUTE - MILLISECOND);
    assert!(tokens.session(session.token()).await.is_ok());
    world.clock.pass(MILLISECOND);
    assert_refused(tokens.session(session.token()).await, "an idle session");
    assert_eq!(tokens.renew(&session), None);

    let key = api(&outpost).await;
    world.clock.pass(24 * HOUR - MILLISECOND);
    assert!(tokens.authenticate(&key).await.is_ok());
    world.clock.pass(MILLISECOND);
    assert_refused(tokens.authenticate(&key).await, "an old API token");
}

#[tokio::test]
async fn a_token_made_between_two_seconds_lives_no_shorter_than_it_should() {
    let (world, outpost) = world().await;
    world.clock.pass(MILLISECOND);
    let key = api(&outpost).await;
    world.clock.pass(24 * HOUR - MILLISECOND);
    assert!(outpost.tokens().authenticate(&key).await.is_ok());
    world.clock.pass(Duration::from_secs(1));
    assert_refused(outpost.tokens().authenticate(&key).await, "an old API token");
}

#[tokio::test]
async fn a_token_opens_no_other_door() {
    let (_world, outpost) = world().await;
    let tokens = outpost.tokens();
    let (link, key, session) = (entry(&outpost).await, api(&outpost).await, sign_in(&outpost).await);
    for (name, token) in [("entry", &link), ("session", &session.token().to_owned())] {
        assert_refused(tokens.authenticate(token).await, name);
    }
    for (name, token) in [("API", &key), ("session", &session.token().to_owned())] {
        assert_refused(tokens.enter(token).await, name);
        assert_refused(tokens.peek(token).await, name);
    }
    for (name, token) in [("API", &key), ("entry", &link)] {
        assert_refused(tokens.session(token).await, name);
    }
    // And it still opens its own.
    assert!(tokens.authenticate(&key).await.is_ok() && tokens.enter(&link).await.is_ok());
}

#[tokio::test]
async fn what_is_not_exactly_ours_is_refused_in_one_way() {
    let (_world, outpost) = world().await;
    let good = json!({"typ": "JWT", "alg": "HS256"});
    for token in [api(&outpost).await, entry(&outpost).await, sign_in(&outpost).await.token().to_owned()] {
        let claims = claims_of(&token);
        let with = |key: &str, value: Value| {
            let mut changed = claims.clone();
            changed[key] = value;
            forge(&good, &changed, SECRET)
        };
        let without = |key: &str| {
            let mut changed = claims.clone();
            changed.as_object_mut().unwrap().remove(key).unwrap();
            forge(&good, &changed, SECRET)
        };
        // The forger itself is no reason for a refusal.
        assert!(opens_something(&outpost, &forge(&good, &claims, SECRET)).await);

        for algorithm in ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
            let forged = forge(&json!({"typ": "JWT", "alg": algorithm}), &claims, SECRET);
            assert_opens_nothing(&outpost, &forged, algorithm).await;
            let (message, _) = forged.rsplit_once('.').unwrap();
            assert_opens_nothing(&outpost, &format!("{message}."), "no signature").await;
            assert_opens_nothing(&outpost, message, "no third part").await;
        }
        let critical = json!({"typ": "JWT", "alg": "HS256", "crit": ["b64"], "b64": false});
        assert_opens_nothing(&outpost, &forge(&critical, &claims, SECRET), "something critical").await;
        assert_opens_nothing(&outpost, &forge(&json!({}), &claims, SECRET), "no algorithm").await;
        assert_opens_nothing(&outpost, &forge(&good, &claims, OTHER), "another secret").await;
        assert_opens_nothing(&outpost, &forge(&good, &claims, ""), "an empty secret").await;

        for key in ["iss", "sub", "iat", "exp", "typ", "inc", "cap", "jti"] {
            assert_opens_nothing(&outpost, &without(key), key).await;
            assert_opens_nothing(&outpost, &with(key, Value::Null), key).await;
        }
        for (key, value) in [
            ("iss", json!("outpost.example")),
            ("iss", json!(["outpost"])),
            ("sub", json!("other")),
            ("sub", json!("")),
            ("sub", json!("../acme")),
            ("exp", json!(0)),
            ("exp", json!(-1)),
            ("exp", json!(i64::MIN)),
            ("exp", json!("9999999999")),
            ("exp", json!(u64::MAX)),
            ("typ", json!("operator")),
            ("inc", json!(claims["inc"].as_i64().unwrap() + 1)),
            ("inc", json!(0)),
            ("cap", json!("all")),
        ] {
            assert_opens_nothing(&outpost, &with(key, value.clone()), &format!("{key} {value}")).await;
        }
        for at in [0, 5, token.find('.').unwrap() + 5, token.rfind('.').unwrap() + 1, token.len() - 3] {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_opens_nothing(&outpost, &String::from_utf8(changed).unwrap(), &format!("byte {at} changed")).await;
        }
        let long = forge(&good, &json!({"iss": "outpost", "more": "x".repeat(5000)}), SECRET);
        assert_opens_nothing(&outpost, &long, "a long token").await;
        // Signed by us and in order, but for its length.
        assert_opens_nothing(&outpost, &with("more", json!("x".repeat(3500))), "a long token of ours").await;
        assert!(opens_something(&outpost, &with("more", json!("x".repeat(1500)))).await);
        for odd in ["", ".", "..", "...", "a.b.c", "ä.ö.ü", "\0", &format!("{token}.{token}"), &"x".repeat(5000)] {
            assert_opens_nothing(&outpost, odd, odd).await;
        }
    }
}

/// Whether any door opens; uses a link up.
async fn opens_something(outpost: &Outpost, token: &str) -> bool {
    let tokens = outpost.tokens();
    tokens.authenticate(token).await.is_ok() || tokens.peek(token).await.is_ok() || tokens.session(token).await.is_ok()
}

#[tokio::test]
async fn a_session_needs_a_name_and_a_time_of_signing_in() {
    let (_world, outpost) = world().await;
    let session = sign_in(&outpost).await;
    for key in ["sid", "aut"] {
        let mut claims = claims_of(session.token());
        claims.as_object_mut().unwrap().remove(key).unwrap();
        let forged = forge(&json!({"typ": "JWT", "alg": "HS256"}), &claims, SECRET);
        assert_opens_nothing(&outpost, &forged, key).await;
    }
}

#[tokio::test]
async fn an_old_secret_is_accepted_after_the_change_and_a_dropped_one_is_not() {
    let (world, outpost) = world().await;
    let (old_key, old_link, old_session) = (api(&outpost).await, entry(&outpost).await, sign_in(&outpost).await);
    let rotated = world.process(TokenSettings::new(PORTAL, OTHER).also_accept(SECRET)).await;
    assert!(rotated.tokens().authenticate(&old_key).await.is_ok());
    assert!(rotated.tokens().session(old_session.token()).await.is_ok());
    let session = rotated.tokens().enter(&old_link).await.unwrap();
    // The new secret signs, so whoever has only the old one does not know its tokens.
    let new_key = api(&rotated).await;
    assert_refused(outpost.tokens().authenticate(&new_key).await, "a token of an unknown secret");
    let retired = world.process(TokenSettings::new(PORTAL, OTHER)).await;
    assert_refused(retired.tokens().authenticate(&old_key).await, "a token of a dropped secret");
    assert!(retired.tokens().authenticate(&new_key).await.is_ok());
    assert!(retired.tokens().session(session.token()).await.is_ok());
}

#[tokio::test]
async fn tokens_of_a_deleted_tenant_are_dead_also_when_the_id_lives_again() {
    let (_world, outpost) = world().await;
    let (key, link, session) = (api(&outpost).await, entry(&outpost).await, sign_in(&outpost).await);
    outpost.tenants().delete("acme").await.unwrap();
    for token in [&key, &link, &session.token().to_owned()] {
        assert_opens_nothing(&outpost, token, "a token of a deleted tenant").await;
    }
    outpost.tenants().put("acme", None).await.unwrap();
    for token in [&key, &link, &session.token().to_owned()] {
        assert_opens_nothing(&outpost, token, "a token of an earlier life").await;
    }
    assert!(outpost.tokens().authenticate(&api(&outpost).await).await.is_ok());
}

#[tokio::test]
async fn each_door_looks_once_into_the_store_and_tells_of_its_failures() {
    let world = World::new();
    let store = FaultStore::new(world.store.clone());
    let faults = store.faults();
    let outpost = world.over(store).tokens(settings()).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let (key, link, session) = (api(&outpost).await, entry(&outpost).await, sign_in(&outpost).await);
    let tokens = outpost.tokens();
    let before = faults.calls(Operation::Fetch);
    tokens.session(session.token()).await.unwrap();
    assert_eq!(faults.calls(Operation::Fetch), before + 1);
    tokens.authenticate(&key).await.unwrap();
    tokens.peek(&link).await.unwrap();
    assert_eq!(faults.calls(Operation::Fetch), before + 3);
    // What is not signed by us costs no look at all.
    assert_opens_nothing(&outpost, &forge(&json!({"alg": "HS256"}), &claims_of(&key), OTHER), "forged").await;
    assert_eq!(faults.calls(Operation::Fetch), before + 3);

    faults.inject(Operation::Fetch, Fault::Before(StoreErrorKind::Unavailable), Times::UntilCleared);
    for failed in [
        tokens.session(session.token()).await.unwrap_err(),
        tokens.authenticate(&key).await.unwrap_err(),
        tokens.peek(&link).await.unwrap_err(),
        tokens.enter(&link).await.unwrap_err(),
    ] {
        assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    }
    faults.clear(Operation::Fetch);
    faults.inject(Operation::Apply, Fault::Before(StoreErrorKind::Full), Times::Next(2));
    assert_eq!(tokens.enter(&link).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(tokens.end(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(tokens.enter(&link).await.is_ok(), "nothing was used up");
}
