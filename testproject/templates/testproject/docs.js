"use strict";

// The last gate before HTML: tags of this list without any attribute pass, since they can run nothing; all else shows as text.
const HARMLESS = "p|br|b|strong|i|em|code|pre|ul|ol|li|h[1-6]|blockquote|hr|table|thead|tbody|tr|th|td";
const ELSE = new RegExp(`<(?!/?(?:${HARMLESS})\\s*/?>)`, "gi");
if (window.trustedTypes) {
  trustedTypes.createPolicy("default", { createHTML: (html) => html.replace(ELSE, "&lt;") });
}

const viewer = document.getElementById("viewer");
SwaggerUIBundle({
  url: viewer.dataset.schema,
  domNode: viewer,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
  // The cookies come along by themselves; a write needs the token beside them.
  requestInterceptor: (request) => {
    const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1];
    if (token && !["GET", "HEAD"].includes(request.method || "GET")) request.headers["X-CSRF-Token"] = token;
    return request;
  },
});
