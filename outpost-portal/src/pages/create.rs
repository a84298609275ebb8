//! create
pub(super) async fn types(cx: &crate::cx::Cx<'_>) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn create(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn form(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
