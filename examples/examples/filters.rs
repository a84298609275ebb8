//! Which of a tenant's destinations an event would go to, and why not to the others.
//!
//! `cargo run -p outpost-examples --example filters`

use outpost_core::{
    DestinationId, MemoryStore, NewDestination, NewEvent, Outpost, ScriptedReply, ScriptedTransport, Topics,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let outpost = Outpost::builder(MemoryStore::new()).transport(transport).start().await?;
    outpost.tenants().put("acme", None).await?;

    // Topics first, then the filter: a JSON object asked of {id, topic, time, metadata, data}.
    for (id, topic, filter) in [
        ("everything", "*", "{}"),
        ("invoices", "invoice.*", "{}"),
        ("large", "order.*", r#"{"data": {"amount": {"$gte": 1000}}}"#),
        ("europe", "order.*", r#"{"data": {"country": {"$in": ["AT", "DE", "FR"]}, "test": {"$exist": false}}}"#),
        ("not_draft", "*", r#"{"data": {"status": {"$not": {"$in": ["draft", "void"]}}}}"#),
    ] {
        let url = format!("https://example.com/{id}");
        let new = NewDestination::webhook(url).id(DestinationId::new(id)?).topics(Topics::new([topic])?).filter(filter);
        outpost.destinations().create("acme", new).await?;
    }
    // A filter that cannot be is refused as a whole, with every problem in it.
    let new = NewDestination::webhook("https://example.com/").filter(r#"{"data": {"amount": {"$above": 5}}}"#);
    if let Err(error) = outpost.destinations().create("acme", new).await {
        println!("refused: {error}\n");
    }

    let event = NewEvent::new("order.created", r#"{"amount": 250, "country": "DE", "status": "paid"}"#);
    for answer in outpost.would_receive("acme", event).await? {
        let why = answer.filter.map(|filter| filter.to_string()).unwrap_or_default();
        println!("{:<12} {:<10} {why}", answer.destination.as_str(), format!("{:?}", answer.verdict));
    }
    Ok(())
}
