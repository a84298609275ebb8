//! deliveries
pub(super) async fn page(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn retry(cx: &crate::cx::Cx<'_>, _: Option<&str>) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
