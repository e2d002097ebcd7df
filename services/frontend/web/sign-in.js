// The code of a link is in the form by now. It works once; still, it need not stay in the browser's history.
history.replaceState(null, "", location.pathname);
