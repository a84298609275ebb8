//! find
pub(super) async fn find(cx: &crate::cx::Cx<'_>) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
