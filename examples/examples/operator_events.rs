//! What the operator is told when a customer's receiver fails: the same webhooks, sent by the same engine.
//!
//! `cargo run -p outpost-examples --example operator_events`

use outpost_core::{
    DestinationId, HealthPolicy, MemoryStore, NewDestination, NewEvent, OperatorDestination, Outpost, RetryPolicy,
    Schedule, ScriptedReply, ScriptedTransport, Topics,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Stands for an endpoint of the operator's own, which prints what it gets. A real one is sent to by a
    // `WebhookTransport` of its own, which may be allowed to reach internal addresses.
    let endpoint = ScriptedTransport::new(|_, message| {
        if let Ok(event) = serde_json::from_slice::<serde_json::Value>(&message.data) {
            println!("{:<39} {}", message.topic, event["data"]["destination"]["id"]);
            for part in ["consecutive_failures", "detail", "last_error"] {
                event["data"].get(part).inspect(|value| println!("    {part}: {value}"));
            }
        }
        ScriptedReply::ok()
    });
    let told = endpoint.calls();
    let alerts = Topics::new(["alert.*"])?;
    let operator = NewDestination::webhook("https://ops.example.com/alerts").topics(alerts);

    // The customers' receivers: all of them fail.
    let transport = ScriptedTransport::always(ScriptedReply::status(500));
    let outpost = Outpost::builder(MemoryStore::new())
        .transport(transport)
        .retry(RetryPolicy::new(Schedule::Explicit(Vec::new()))?)
        .health(HealthPolicy::default().consecutive_failures(Some(2)).disable_at_count(true))
        .operator_destination(OperatorDestination::new(endpoint, operator))
        .deployment_id("example")
        .start()
        .await?;

    outpost.tenants().put("acme", None).await?;
    let new = NewDestination::webhook("https://example.com/").id(DestinationId::new("crm")?);
    outpost.destinations().create("acme", new).await?;
    for number in 1..=2 {
        outpost.publish("acme", NewEvent::json("order.created", &serde_json::json!({ "order": number }))?).await?;
    }
    // Exhausted, 50 %, 100 %, disabled.
    told.reached(4).await;
    Ok(())
}
