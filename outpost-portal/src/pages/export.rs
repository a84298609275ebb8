//! export
pub(super) async fn stream(cx: &crate::cx::Cx<'_>, _: Option<&str>, _: crate::route::Format) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
