//! replay
pub(super) async fn start(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn form(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn progress(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn cancel(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
