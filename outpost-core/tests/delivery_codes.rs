//! Lists of deliveries by how the latest attempt ended, through the whole library, as each actor sees them.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use outpost_core::{
    Actor, Capabilities, CodeFilter, DeliveryFilter, DestinationId, ErrorClass, ErrorKind, MemoryStore, NewDestination,
    NewEvent, Outpost, PageRequest, ScriptedReply, ScriptedTransport, SeededEntropy, Timestamp, TokioClock,
};

/// An engine with a destination for each way that an attempt may end, named by it, and one attempt at each.
async fn world() -> Outpost {
    let transport = ScriptedTransport::new(|target, _| {
        let url = target.display();
        match url.strip_prefix("https://").and_then(|host| host.strip_suffix(".test/")) {
            Some("blocked") => ScriptedReply::error(ErrorClass::Blocked),
            Some("dns") => ScriptedReply::error(ErrorClass::Dns),
            Some("timeout") => ScriptedReply::error(ErrorClass::Timeout),
            status => ScriptedReply::status(status.and_then(|status| status.parse().ok()).unwrap_or(200)),
        }
    });
    let outpost = Outpost::builder(MemoryStore::new())
        .transport(transport)
        .clock(TokioClock::starting_at(Timestamp::from_millis(1_780_000_000_000)))
        .entropy(SeededEntropy::new(1))
        .start()
        .await
        .unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    for host in ["200", "404", "503", "blocked", "dns", "timeout"] {
        let new = NewDestination::webhook(format!("https://{host}.test/")).id(DestinationId::new(host).unwrap());
        outpost.destinations().create("acme", new).await.unwrap();
    }
    outpost.publish("acme", NewEvent::new("order.created", "{}").id("e1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    outpost
}

async fn as_user(outpost: &Outpost) -> Outpost {
    let tenant = outpost.tenants().get("acme").await.unwrap();
    let actor = Actor::Tenant { tenant: tenant.id, incarnation: tenant.incarnation, capabilities: Capabilities::ALL };
    outpost.acting_as(actor)
}

fn asking(codes: &[&str]) -> DeliveryFilter {
    let codes = codes.iter().map(|code| CodeFilter::parse(code).unwrap()).collect();
    DeliveryFilter { codes, ..DeliveryFilter::default() }
}

/// To where the deliveries go that match, each with the code it shows.
async fn listed(outpost: &Outpost, codes: &[&str]) -> Vec<(String, String)> {
    let page = outpost.deliveries().list("acme", &asking(codes), &PageRequest::default()).await.unwrap();
    let shown = |outcome: &Option<outpost_core::Outcome>| outcome.as_ref().unwrap().code.clone();
    let mut found: Vec<_> =
        page.items.iter().map(|row| (row.destination_id.to_string(), shown(&row.value.last_outcome))).collect();
    found.sort();
    found
}

fn named(rows: &[(String, String)]) -> Vec<&str> {
    rows.iter().map(|(destination, _)| destination.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_listed_by_class_code_and_lack_of_an_answer() {
    let outpost = world().await;
    for (codes, wanted) in [
        (&["2xx"][..], &["200"][..]),
        (&["4xx", "5xx"], &["404", "503"]),
        (&["503"], &["503"]),
        (&["3xx"], &[]),
        (&["timeout"], &["timeout"]),
        (&["none"], &["blocked", "dns", "timeout"]),
        (&["blocked"], &["blocked"]),
        (&["dns_error"], &["dns"]),
    ] {
        assert_eq!(named(&listed(&outpost, codes).await), wanted, "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_finds_a_blocked_address_only_where_it_finds_names_that_do_not_resolve() {
    let outpost = world().await;
    let user = as_user(&outpost).await;
    let both = [("blocked".to_owned(), "dns_error".to_owned()), ("dns".to_owned(), "dns_error".to_owned())];
    assert_eq!(listed(&user, &["dns_error"]).await, both);
    assert_eq!(listed(&user, &["dns_error", "blocked"]).await, both);
    assert_eq!(listed(&user, &["blocked"]).await, [], "no delivery shows this code, and it does not mean any");
    assert_eq!(named(&listed(&user, &["blocked", "404"]).await), ["404"]);
    assert_eq!(named(&listed(&user, &["none"]).await), ["blocked", "dns", "timeout"]);
    // What is shown is what is found, whatever is asked for.
    for code in ["2xx", "3xx", "4xx", "5xx", "none", "200", "404", "503", "blocked", "dns_error", "timeout"] {
        let wanted = CodeFilter::parse(code).unwrap();
        let all = listed(&user, &[]).await;
        let shown: Vec<_> = all
            .into_iter()
            .filter(|(_, code)| wanted.matches(&outpost_core::Outcome { success: code == "200", code: code.clone() }))
            .collect();
        assert_eq!(listed(&user, &[code]).await, shown, "{code}");
    }
    let error = user.deliveries().list("other", &asking(&["blocked"]), &PageRequest::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "asking for nothing opens no door");
}

#[tokio::test(start_paused = true)]
async fn pages_by_code_lead_on_and_back() {
    let outpost = world().await;
    let user = as_user(&outpost).await;
    for codes in [&["4xx", "5xx", "dns_error"][..], &["none", "2xx"]] {
        let filter = asking(codes);
        let whole = user.deliveries().list("acme", &filter, &PageRequest::default()).await.unwrap();
        assert_eq!((whole.items.len(), whole.next, whole.prev), (4, None, None));
        let mut request = PageRequest { limit: 1, ..PageRequest::default() };
        let mut on = Vec::new();
        let mut back = Vec::new();
        loop {
            let page = user.deliveries().list("acme", &filter, &request).await.unwrap();
            on.extend(page.items);
            match page.next {
                Some(next) => request.cursor = Some(next),
                None => break back.extend(page.prev),
            }
        }
        assert_eq!(on, whole.items, "one after the other they are the whole list");
        request.cursor = back.pop();
        let mut reversed = vec![on[3].clone()];
        while request.cursor.is_some() {
            let page = user.deliveries().list("acme", &filter, &request).await.unwrap();
            reversed.extend(page.items);
            request.cursor = page.prev;
        }
        reversed.reverse();
        assert_eq!(reversed, whole.items, "and back again");
        request.cursor = user.deliveries().list("acme", &filter, &request).await.unwrap().next;
        let other = user.deliveries().list("acme", &asking(&["2xx"]), &request).await.unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Invalid, "a cursor belongs to the codes it was made with");
    }
}
