//! preferences
pub(super) async fn page(cx: &crate::cx::Cx<'_>) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn save(cx: &crate::cx::Cx<'_>) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
