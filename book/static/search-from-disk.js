// The search page fetches each page that it found, to show a few lines of it. A page that is opened
// from disk may not fetch, so there the search shows titles alone, and reports no error.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
