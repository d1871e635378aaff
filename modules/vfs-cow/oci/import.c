/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "oci.h"

int oci_import(int tree, const char *file)
{
	json_t *manifest = layout_manifest(file), *layer;
	size_t i;
	int r = manifest ? 0 : -1;

	json_array_foreach(json_object_get(manifest, "layers"), i, layer)
	{
		const char *media = json_string_value(json_object_get(layer, "mediaType"));
		const char *digest = json_string_value(json_object_get(layer, "digest"));

		if (r < 0)
			break;
		if (!media || !digest || !digest_valid(digest))
			r = oci_fail("%s: layer %zu of the manifest has no type or digest", file,
			             i + 1);
		else if (!strstr(media, ".tar"))
			r = oci_fail("%s: layer %zu is of type '%s', which is no tar", file, i + 1,
			             media);
		else
			r = unpack_layer(tree, file, digest);
	}
	if (r == 0)
		r = prune_whiteouts(tree);
	json_decref(manifest);
	return r;
}
