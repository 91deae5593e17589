"use strict";

// What stands in the search box is looked for in whatever an operation is called and does, not only in its tag.
function found(tagged, phrase) {
  const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
  return tagged
    .map((tag, name) => tag.set("operations", tag.get("operations").filter((one) => {
      const told = ["summary", "description", "operationId"].map((member) => one.getIn(["operation", member]));
      const text = [name, one.get("method"), one.get("path"), ...told].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    })))
    .filter((tag) => tag.get("operations").size > 0);
}

window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({
    url: "v1/openapi.json",
    dom_id: "#reference",
    deepLinking: true,
    filter: true,
    docExpansion: "list",
    // A key is kept in this page's memory, and gone with it.
    persistAuthorization: false,
    validatorUrl: null,
    plugins: [() => ({ fn: { opsFilter: found } })],
  });
});
