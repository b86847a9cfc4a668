// A file of its own, so that the page needs no inline script and the content security policy allows none.
const place = document.getElementById("api");
SwaggerUIBundle({ domNode: place, url: place.dataset.schema, deepLinking: true, validatorUrl: null });
